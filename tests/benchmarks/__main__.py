"""Measure the service against the stock way on this machine: `python -m tests.benchmarks [--quick] [--json FILE]`.

Prints Markdown to stdout, progress to stderr. Leave the machine alone meanwhile: everything shares its cores.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ParamSpec, TypeVar

from tests.benchmarks.children import decoding, nodes, one_clip, save_model
from tests.benchmarks.clips import clips
from tests.benchmarks.effort import FULL, QUICK, Effort
from tests.benchmarks.http.lengths import lengths
from tests.benchmarks.http.over_http import over_http
from tests.benchmarks.http.servers import ours, running
from tests.benchmarks.http.starting import starting
from tests.benchmarks.measuring import machine
from tests.benchmarks.report import Section

P = ParamSpec("P")
T = TypeVar("T")

_SECTIONS = ("clip", "nodes", "decode", "http", "start", "length")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few minutes, to see that it runs; not for citing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--only", nargs="+", choices=_SECTIONS, default=_SECTIONS, help="some sections; all by default")
    options = parser.parse_args()
    described = machine()
    sys.stdout.write("".join(f"- {name}: {value}\n" for name, value in described.items()))
    sections = []
    started = time.perf_counter()
    for section in _measure(QUICK if options.quick else FULL, options.only):
        sys.stdout.write(f"\n{section.markdown()}\n")
        sys.stdout.flush()
        sections.append(asdict(section))
    result = {
        "machine": described,
        "quick": options.quick,
        "measured_s": round(time.perf_counter() - started),
        "sections": sections,
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _measure(effort: Effort, wanted: Sequence[str]) -> Iterator[Section]:
    with tempfile.TemporaryDirectory(prefix="music-genre-benchmark-") as folder:
        home = Path(folder)
        model = home / "model"
        os.environ |= {"HF_HOME": str(home / "hub"), "HF_HUB_OFFLINE": "1"}
        _timed("model", save_model, model, in_int8="clip" in wanted)
        # The first start converts the graph into the cache; no section measures it.
        _timed("first start", _start_once, model, home)
        music = clips()
        if "clip" in wanted:
            yield _timed("clip", one_clip, model, music, effort.clip_rounds)
        if "nodes" in wanted:
            yield from _timed("nodes", nodes, model, effort.clip_rounds)
        if "decode" in wanted:
            yield _timed("decode", decoding, model, effort.clip_rounds)
        if "http" in wanted:
            yield from _timed("http", over_http, model, music, effort, home)
        if "start" in wanted:
            yield _timed("start", starting, model, music, effort, home)
        if "length" in wanted:
            yield _timed("length", lengths, model, effort, home)


def _timed(name: str, part: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
    """Call it, and tell how long it took."""
    started = time.perf_counter()
    result = part(*arguments, **keywords)
    sys.stderr.write(f"{name}: {time.perf_counter() - started:.0f} s\n")
    return result


def _start_once(model: Path, logs: Path) -> None:
    with running(ours(), model, logs):
        pass


if __name__ == "__main__":
    main()
