"""Classify a library: `MODEL_ID=you/genre python -m service.library SOURCE --out results/`."""

import importlib.util
import logging
import sys
from typing import TYPE_CHECKING

from service.library.options import Options, parse
from service.library.signals import Ended, signals_end

if TYPE_CHECKING:
    from service.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 when all is done, 1 where something must be changed, 2 for a wrong option, 130 after Ctrl-C, 143
    after SIGTERM."""
    options = parse(arguments)
    missing = [name for name in ("pyarrow", "ray") if importlib.util.find_spec(name) is None]
    if missing and not (options.summary and "pyarrow" not in missing):
        sys.stderr.write(
            f"{' and '.join(missing)} must be installed for this: pip install 'music-genre-service[serve,cluster]'\n"
        )
        return 1
    from service.errors import StartupError
    from service.library.recordings.problems import LibraryError

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        with signals_end():
            return _work(options)
    except Ended as ended:
        sys.stderr.write("Stopped. What is done is written; the same command goes on from there.\n")
        return 128 + ended.signal
    except (LibraryError, StartupError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _work(options: Options) -> int:
    from service.library.output.parts import Parts
    from service.library.output.summary import summarise, write_csv
    from service.library.recordings.problems import LibraryError

    if options.summary:
        parts = Parts(options.out)
        if not parts.files:
            raise LibraryError(f"{options.out} holds no results. Name the --out of a run.")
        if options.csv:
            write_csv(parts)
        sys.stdout.write(summarise(parts))
        return 0
    settings = _settings(options)
    if settings is None:
        return 2
    from service.library.run import run

    run(options, settings)
    return 0


def _settings(options: Options) -> "Settings | None":
    """The settings of the environment, with the model of the command line; None, after a line, where one is wrong."""
    from pydantic import ValidationError

    from service.settings import Settings

    named = {"model_id": options.model_id, "model_revision": options.model_revision}
    try:
        return Settings(**{name: value for name, value in named.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(map(str, problem["loc"])).upper()
            sys.stderr.write(f"{name}: {problem['msg']}. Set the environment variable {name}.\n")
        return None


if __name__ == "__main__":
    sys.exit(main())
