"""Run the service: `MODEL_ID=you/genre python -m service`. Settings come from the environment; see `settings.py`."""

import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from service.settings import Settings


def main() -> int:
    """The exit code: 0 after a signal, 1 when the model cannot be loaded, 2 for a wrong setting."""
    # First of all, as the first process of a container ignores what it does not handle, and the imports below take
    # seconds. uvicorn has handlers of its own while it runs; afterwards it raises the signal again, for these.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    from pydantic import ValidationError

    from service.runtime import logs, tracing
    from service.runtime.temporary_folder import scratch_folder
    from service.settings import Settings, is_service_link

    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(map(str, problem["loc"])).upper()
            sys.stderr.write(
                f"{name}: {problem['msg']}. Set the environment variable {name}; docs/configuration.md lists all.\n"
            )
        return 2
    logs.configure(settings.log_level, settings.log_format)
    if is_service_link(os.environ.get("METRICS_PORT")):
        logging.getLogger(__name__).warning(
            "METRICS_PORT is ignored: Kubernetes wrote it for a Service called metrics. Set enableServiceLinks: false."
        )
    with scratch_folder() as scratch, tracing.exporting(os.environ):
        # For the processes that this one starts, and for this one.
        os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
        # Gradio reads this when it is imported.
        os.environ.setdefault("GRADIO_TEMP_DIR", str(scratch / "page"))
        return _serve(settings, scratch)


def _serve(settings: "Settings", scratch: Path) -> int:
    """The exit code. scratch: what to delete when there is no time to return."""
    # Here, as these take long, and what was wrong so far has been told at once.
    from service.api.receiving import MAX_RECORDINGS
    from service.app import create_app
    from service.errors import StartupError
    from service.runtime import logs
    from service.server import Server, allow_descriptors

    failed = False

    def fail() -> None:
        nonlocal failed
        failed = True
        server.should_exit = True

    def exit_now() -> NoReturn:
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(128 + signal.SIGTERM)

    def announce() -> None:
        if logs.is_text(settings.log_format):
            sys.stderr.write(f"\n{_where_to_look(settings)}\n\n")

    try:
        app = create_app(settings, on_startup_failure=fail, on_ready=announce)
    except StartupError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    allow_descriptors(settings.max_connections, MAX_RECORDINGS)
    config = _uvicorn_config(app, settings)
    server = Server(config, app.state.drain, drain_timeout_s=settings.drain_timeout_s, exit_now=exit_now)
    server.run(_sockets(config, settings))
    return int(failed)


def _uvicorn_config(app: "FastAPI", settings: "Settings") -> "uvicorn.Config":
    import uvicorn

    from service.server import BACKLOG, protocol

    return uvicorn.Config(
        app,
        backlog=BACKLOG,
        host=settings.host,
        port=settings.port,
        http=protocol(settings.max_connections, settings.metrics_port, app.state.metrics),
        timeout_keep_alive=settings.keep_alive_s,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
    )


def _sockets(config: "uvicorn.Config", settings: "Settings") -> list[socket.socket] | None:
    """The sockets of both ports; None where uvicorn binds the only one by itself."""
    if not settings.metrics_port:
        return None
    import uvicorn

    metrics = uvicorn.Config(config.app, host=settings.host, port=settings.metrics_port, log_config=None)
    return [config.bind_socket(), metrics.bind_socket()]


def _where_to_look(settings: "Settings") -> str:
    host = "localhost" if settings.host in {"127.0.0.1", "0.0.0.0", "::"} else settings.host  # noqa: S104 (compared, not bound)
    host = f"[{host}]" if ":" in host else host
    url = f"http://{host}:{settings.port}{settings.root_path}"
    look = f"Open {url}/ui, or run" if settings.page else "Run"
    return f"Ready. {look}: curl -F file=@song.mp3 {url}/classify   Ctrl-C stops the service."


if __name__ == "__main__":
    sys.exit(main())
