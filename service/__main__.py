"""Run the service: `MODEL_ID=you/genre python -m service`. Settings come from the environment; see `settings.py`."""

import os
import signal
import sys
import tempfile


def main() -> int:
    """The exit code: 0 after a signal, 1 when the model cannot be loaded, 2 for a wrong setting."""
    # First of all, as the first process of a container ignores what it does not handle, and the imports below take
    # seconds. uvicorn has handlers of its own while it runs; afterwards it raises the signal again, for these.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    from pydantic import ValidationError

    from service import logs
    from service.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(map(str, problem["loc"])).upper()
            sys.stderr.write(f"{name}: {problem['msg']}. Set the environment variable {name}; README.md lists all.\n")
        return 2
    logs.configure(settings.log_level)
    # Last, as these take long: what was wrong so far has been told at once.
    import uvicorn

    from service.app import create_app

    failed = False

    def stop() -> None:
        nonlocal failed
        failed = True
        server.should_exit = True

    with tempfile.TemporaryDirectory(prefix="music-genre-") as uploads:
        os.environ.setdefault("GRADIO_TEMP_DIR", uploads)
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(settings, on_startup_failure=stop),
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=settings.drain_timeout_s,
            )
        )
        server.run()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
