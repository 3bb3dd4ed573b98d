"""Cost of a recording that was answered before, against the first time, over HTTP, and of looking it up in vain.

`python -m tests.benchmarks.http.again MODEL [--rounds 7]`. Prints Markdown.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.clips import CLIP_S, recording
from tests.benchmarks.http.lengths import once
from tests.benchmarks.http.servers import Server, ours, running
from tests.benchmarks.measuring import machine, median
from tests.benchmarks.report import Row, Section

_LENGTHS_S = (CLIP_S, 600.0, 3_000.0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.http.again", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="MODEL_ID: a model folder, or a repo that is cached")
    parser.add_argument("--rounds", type=int, default=7, help="recordings of each length")
    options = parser.parse_args()
    sys.stdout.write("".join(f"- {name}: {value}\n" for name, value in machine().items()))
    sys.stdout.write(f"\n{_measure(options.model, options.rounds).markdown()}\n")


def _measure(model: str, rounds: int) -> Section:
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        without = stack.enter_context(running(ours(), Path(model), logs))
        keeping = stack.enter_context(running(ours(RESULT_CACHE_MB="16"), Path(model), logs))
        rows = [_row(without, keeping, length_s, rounds) for length_s in _LENGTHS_S]
    remark = (
        f"Median of {rounds} recordings, one client, each sent to a service without answers in memory, then twice to "
        "one with them. share: of the first answer's time that the second one takes."
    )
    return Section("Asking again", rows, [remark])


def _row(without: Server, keeping: Server, length_s: float, rounds: int) -> Row:
    seen: dict[str, list[float]] = {"without": [], "first": [], "again": []}
    file = recording(length_s)
    for number in range(rounds + 1):
        # Other bytes behind the music make another recording of the same cost.
        sent = file + bytes([number])
        for name, server in (("without", without), ("first", keeping), ("again", keeping)):
            (latency_s,) = once(server, sent).latencies_s
            # The first round warms up.
            seen[name] += [latency_s] if number else []
    medians = {name: median(seconds) or 0.0 for name, seconds in seen.items()}
    milliseconds: Row = {f"{name} ms": seconds * 1e3 for name, seconds in medians.items()}
    return {
        "length s": int(length_s),
        "mp3 MB": len(file) / 1e6,
        **milliseconds,
        "share": medians["again"] / medians["first"],
    }


if __name__ == "__main__":
    main()
