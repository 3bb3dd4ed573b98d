"""Latency of the first line, and of all, of the streamed answer about a long recording.

`python -m tests.benchmarks.http.first_line MODEL [--hours 2] [--rounds 3]`. Prints Markdown.
"""

import argparse
import http.client
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.clips import recording
from tests.benchmarks.http.servers import Server, ours, running
from tests.benchmarks.measuring import machine, median
from tests.benchmarks.report import Row, Section

_HEADERS = {"Accept": "application/x-ndjson", "Content-Type": "audio/mpeg"}
_TIMEOUT_S = 3_600


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.http.first_line", description=__doc__.splitlines()[0]
    )
    parser.add_argument("model", help="MODEL_ID: a model folder, or a repo that is cached")
    parser.add_argument("--hours", type=float, default=2, help="length of the recording")
    parser.add_argument("--rounds", type=int, default=3, help="requests of each kind")
    options = parser.parse_args()
    sys.stdout.write("".join(f"- {name}: {value}\n" for name, value in machine().items()))
    sys.stdout.write(f"\n{_measure(options.model, options.hours * 3_600, options.rounds).markdown()}\n")


def _measure(model: str, duration_s: float, rounds: int) -> Section:
    file = recording(duration_s)
    # The whole recording, however long it takes here.
    bounds = {"MAX_UPLOAD_MB": str(len(file) / 1e6 + 1), "MAX_ANALYSED_S": str(duration_s)}
    patience = {"REQUEST_DEADLINE_S": str(_TIMEOUT_S), "MAX_QUEUE_S": str(2 * duration_s)}
    with tempfile.TemporaryDirectory() as logs, running(ours(**bounds, **patience), Path(model), Path(logs)) as server:
        # So that the start of the decoders is not measured.
        _ask(server, "/classify", recording(30))
        rows = [_row(server, path, file, rounds) for path in ("/classify", "/classify?timeline=true")]
    remark = (
        f"An mp3 of {len(file) / 1e6:.0f} MB, the frames of 30 s repeated to {duration_s / 3_600:g} h; one client, "
        f"seconds from the beginning of the request, medians of {rounds}. sent: the body has left the client."
    )
    return Section("First line of a long recording", rows, [remark])


def _row(server: Server, path: str, file: bytes, rounds: int) -> Row:
    answers = [_ask(server, path, file) for _ in range(rounds)]
    sent_s, first_s, all_s, lines = (median(column) for column in zip(*answers, strict=True))
    return {"asked": path, "lines": int(lines or 0), "sent s": sent_s, "first line s": first_s, "all s": all_s}


def _ask(server: Server, path: str, file: bytes) -> tuple[float, float, float, float]:
    """Seconds until the file is sent, the first line is there, and the last one; and how many there are."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_TIMEOUT_S)
    started = time.perf_counter()
    connection.request("POST", path, file, _HEADERS)
    sent_s = time.perf_counter() - started
    response = connection.getresponse()
    first = response.readline()
    first_s = time.perf_counter() - started
    rest = response.read().splitlines()
    all_s = time.perf_counter() - started
    connection.close()
    if response.status != 200 or b'"answer"' not in (rest or [first])[-1]:
        raise RuntimeError(f"{path} answered {response.status}: {(rest or [first])[-1][:500]!r}")
    return sent_s, first_s, all_s, 1 + len(rest)


if __name__ == "__main__":
    main()
