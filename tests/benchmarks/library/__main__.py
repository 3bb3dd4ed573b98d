"""What a library costs on Ray Data: `make bench-library`.

Short and long recordings of generated music in mixed formats, one in a hundred broken: by the pipeline of `python -m
service.library`, by the same actor without Ray, and on two nodes against one; with DistilHuBERT at full size or another
(the faster a model is, the more Ray's own work shows). Prints Markdown. Leave the machine alone meanwhile.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from service.runtime.resources import available_cpus
from tests.benchmarks.children import save_model
from tests.benchmarks.measuring import machine
from tests.benchmarks.report import Row, Section
from tests.support.audio_files import encode
from training.synthetic.render import GENRES, SAMPLING_RATE, render

_FORMATS = ("mp3", "flac", "ogg", "m4a", "wav")
_SHORT_S = 10.0
_LONG_S = 180.0
_PART_S = 30.0
_DISTINCT = 20

# A node and all that it starts is held to its share of the cores, as Ray's count of cores holds nobody back.
NODES = """
import os, sys
from ray.cluster_utils import Cluster
cores = sorted(os.sched_getaffinity(0))
count = int(sys.argv[1])
share = len(cores) // count
node = {"include_dashboard": False, "num_cpus": share, "object_store_memory": 100 << 20}
os.sched_setaffinity(0, cores[:share])
cluster = Cluster(initialize_head=True, head_node_args=node)
for number in range(1, count):
    os.sched_setaffinity(0, cores[number * share : (number + 1) * share])
    cluster.add_node(**node)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


@dataclass(frozen=True)
class Work:
    """Folders of the recordings and of the model."""

    music: Path
    model: Path


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.library", description=__doc__.splitlines()[0])
    parser.add_argument("--short", type=int, default=2_000, help=f"recordings of {_SHORT_S:g} s")
    parser.add_argument("--long", type=int, default=200, help=f"recordings of {_LONG_S:g} s")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="DistilHuBERT with random weights by default")
    options = parser.parse_args()
    sys.stdout.write("".join(f"- {name}: {value}\n" for name, value in machine().items()))
    with tempfile.TemporaryDirectory(prefix="music-genre-library-") as scratch:
        home = Path(scratch)
        model = options.model or home / "model"
        if not options.model:
            save_model(model, in_int8=False)
        _write_music(home / "music", options.short, options.long)
        cores = str(available_cpus())
        work = Work(home / "music", model.resolve())
        before, ray, after = (_way(way, work, cores) for way in ("alone", "ray", "alone"))
        sys.stdout.write(f"\n{_overhead(before, ray, after).markdown()}\n")
        sys.stdout.flush()
        if available_cpus() > 1:
            one, two = _on_nodes(1, work), _on_nodes(2, work)
            sys.stdout.write(f"\n{_scaling(one, two).markdown()}\n")


def _write_music(folder: Path, short: int, long: int) -> None:
    """Copies of a few recordings; one in a hundred is a text under the name of a recording."""
    folder.mkdir()
    for kind, count, seconds, distinct in (
        ("short", short, _SHORT_S, _DISTINCT),
        ("long", long, _LONG_S, len(_FORMATS)),
    ):
        made = [_recording(index, seconds) for index in range(min(count, distinct))]
        for index in range(count):
            content = b"broken " * 1_000 if index % 100 == 99 else made[index % distinct]
            (folder / f"{kind}-{index:05d}.{_FORMATS[index % len(_FORMATS)]}").write_bytes(content)


def _recording(index: int, seconds: float) -> bytes:
    part_s = min(seconds, _PART_S)
    part = render(GENRES[index % len(GENRES)], seed=index, duration_s=part_s)
    return encode(np.tile(part, round(seconds / part_s)), _FORMATS[index % len(_FORMATS)], SAMPLING_RATE)


def _way(way: str, work: Work, threads: str, **variables: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.library.ways", way, work.music, work.model, threads],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    course: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    sys.stderr.write(f"{way} {variables}: {course['files']} files in {course['seconds']:.1f} s\n")
    return course


def _on_nodes(count: int, work: Work) -> dict[str, Any]:
    with subprocess.Popen(
        [sys.executable, "-c", NODES, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as nodes:
        assert nodes.stdout is not None
        return _way("ray", work, "1", RAY_ADDRESS=nodes.stdout.readline().strip())


def _rate(*courses: dict[str, Any]) -> float:
    seconds = float(sum(course["seconds"] for course in courses))
    return sum(int(course["files"]) for course in courses) / seconds


def _row(name: str, *courses: dict[str, Any]) -> Row:
    tenth = max(1, len(courses[-1]["resident_mb"]) // 10)
    memory = courses[-1]["resident_mb"]
    second, last = memory[tenth : 2 * tenth], memory[-tenth:]
    audio_s = sum(course["audio_s"] for course in courses) / sum(course["seconds"] for course in courses)
    return {
        "way": name,
        "files/s": _rate(*courses),
        "hours of audio a minute": audio_s / 60,
        "s until the first rows": courses[-1]["start_s"],
        "MB resident": max(memory),
        "growth": f"{(sum(last) / len(last)) / (sum(second) / len(second)) - 1:+.1%}" if second else None,
        "errors": courses[-1]["errors"],
    }


def _overhead(before: dict[str, Any], ray: dict[str, Any], after: dict[str, Any]) -> Section:
    alone_s, ray_s = 1 / _rate(before, after), 1 / _rate(ray)
    return Section(
        "The pipeline, and its actor without Ray",
        [_row("without Ray", before, after), _row("Ray Data", ray)],
        [
            f"Ray Data keeps {alone_s / ray_s:.3f} of the files/s; {(ray_s - alone_s) * 1e3:.1f} ms a file more. Rates "
            "are from the first rows to the last; growth is from the second tenth to the last, of all processes."
        ],
    )


def _scaling(one: dict[str, Any], two: dict[str, Any]) -> Section:
    return Section(
        "Two nodes of half the cores each, and one of all; an actor a core",
        [_row("one node", one), _row("two nodes", two)],
        [f"Two nodes keep {_rate(two) / _rate(one):.3f} of the files/s of one that has the cores of both."],
    )


if __name__ == "__main__":
    main()
