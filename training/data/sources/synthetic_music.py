"""Clips of synthetic music, composed when they are stored or streamed."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from training.data.sources.clip_source import ClipSource, Example, Member
from training.synthetic import render, styles


def synthetic_source(clips_per_genre: int, duration_s: float) -> ClipSource:
    """So many clips of each genre, the same for the same program."""
    jobs = [f"{genre}/{seed}" for seed in range(clips_per_genre) for genre in render.GENRES]
    source = b"".join(Path(str(module.__file__)).read_bytes() for module in (styles, render))
    return ClipSource(
        _synthetic_clips,
        {"jobs": jobs, "duration_s": duration_s},
        list(render.GENRES),
        [hashlib.sha256(source).hexdigest(), str(duration_s), *jobs],
        is_cpu_bound=True,
    )


def _synthetic_clips(jobs: list[str], duration_s: float) -> Iterator[Example]:
    for job in jobs:
        genre, seed = job.split("/")
        member = Member(job, f"{genre}/{genre}.{int(seed):05}.flac", genre)
        yield member.example(render.encode(render.render(genre, int(seed), duration_s)))
