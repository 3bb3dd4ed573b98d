"""Serves folders as repos of a Hub on loopback; see the package."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.hub_stand_in.stand_in import HubStandIn


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve folders as repos until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.hub_stand_in", description="A Hub on loopback.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", action="append", default=[], metavar="[datasets/]REPO_ID=PATH")
    options = parser.parse_args(arguments)
    signals = {signal.SIGINT, signal.SIGTERM}
    # Blocked before the server's thread starts, so that none but `sigwait` gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with HubStandIn(host=options.host, port=options.port) as hub:
        for folder in options.folder:
            web_path, _, path = folder.partition("=")
            repo_type = "dataset" if web_path.startswith("datasets/") else "model"
            repo_id = web_path.removeprefix("datasets/")
            found = [file for file in Path(path).rglob("*") if file.is_file()]
            hub.create_repo(repo_id, repo_type=repo_type)
            files = {file.relative_to(path).as_posix(): file.read_bytes() for file in found}
            hub.commit(repo_id, files, repo_type=repo_type)
        sys.stdout.write(f"{hub.endpoint}\n")
        sys.stdout.flush()
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
