"""One way to classify a folder, in a process of its own: `python -m tests.benchmarks.library.ways WAY FOLDER MODEL`."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa

from service.library import pipeline
from service.library.actor import Job, LibraryActor
from service.library.recordings.recording import RecordingLimits
from service.library.recordings.sources import list_recordings
from service.model.artefact import read_artefact
from tests.support.process_tree import usage

_BLOCK = 8
# As many calls as the pool makes to an actor at a time.
_CALLS = 2


@dataclass
class Course:
    """How a run went. start_s: until the first rows. seconds: from then on, for `files`. resident_mb: of all processes,
    each time rows came; what they share is counted once."""

    start_s: float = 0.0
    files: int = 0
    seconds: float = 0.0
    audio_s: float = 0.0
    errors: int = 0
    resident_mb: list[float] = field(default_factory=list)


def main() -> None:
    way, folder, model, threads = sys.argv[1:]
    begun = time.perf_counter()
    paths = sorted(recording.path for recording in list_recordings(folder))
    # One shuffle for all ways: long recordings come among the short ones.
    paths.sort(key=_mixed)
    with {"alone": _alone, "ray": _on_ray}[way](paths, _job(Path(model), int(threads))) as tables:
        sys.stdout.write(json.dumps(asdict(_follow(tables, begun))) + "\n")


def _mixed(path: str) -> str:
    """A sort key that has nothing to do with names, and is the same in every process."""
    return hashlib.sha256(Path(path).name.encode()).hexdigest()


def _job(model: Path, threads: int) -> Job:
    revision = read_artefact(model, model_id=model.name, revision=None).revision
    return Job(str(model), "main", revision, "auto", threads, 0, 3, False, RecordingLimits(10**9, 300.0))


@contextmanager
def _alone(paths: list[str], job: Job) -> Iterator[Iterator[pa.Table]]:
    actor = LibraryActor(job)
    blocks = [pa.table({"path": paths[start : start + _BLOCK]}) for start in range(0, len(paths), _BLOCK)]
    with ThreadPoolExecutor(_CALLS) as calls:
        yield (call.result() for call in as_completed([calls.submit(actor, block) for block in blocks]))
    actor.close()


@contextmanager
def _on_ray(paths: list[str], job: Job) -> Iterator[Iterator[pa.Table]]:
    with pipeline.ray_running():
        yield pipeline.classify(paths, job, pipeline.Pool(None, job.threads, 0.0))


def _follow(tables: Iterator[pa.Table], begun: float) -> Course:
    course = Course()
    first = None
    for table in tables:
        now = time.perf_counter()
        course.resident_mb.append(usage(os.getpid()).pss_mb)
        course.errors += len(table) - table.column("error_type").null_count
        if first is None:
            first, course.start_s = now, now - begun
            continue
        course.files += len(table)
        course.audio_s += sum(filter(None, table.column("duration_s").to_pylist()))
        course.seconds = now - first
    return course


if __name__ == "__main__":
    main()
