"""Times the stages of a request: for its metrics, and as spans of its trace."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from service.runtime import tracing

Stage = Literal["decode_wait", "decode", "queue", "inference"]
"""Waiting for a decoder process, decoding, waiting for the engine, computing."""

STAGES: tuple[Stage, ...] = ("decode_wait", "decode", "queue", "inference")

# Of the request that is worked on; stages are passed far below where their sum is wanted.
_seconds: ContextVar[dict[Stage, float] | None] = ContextVar("stages", default=None)


@contextmanager
def measured() -> Iterator[dict[Stage, float]]:
    """The seconds that the block has spent in each stage."""
    seconds: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
    token = _seconds.set(seconds)
    try:
        yield seconds
    finally:
        _seconds.reset(token)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """Time the block as a stay in a stage."""
    start = time.perf_counter()
    try:
        yield
    finally:
        spent(name, start, time.perf_counter())


def spent(name: Stage, start: float, end: float) -> None:
    """Note a stay in a stage that was timed elsewhere. start, end: of `time.perf_counter`."""
    seconds = _seconds.get()
    if seconds is not None:
        seconds[name] += end - start
    tracing.add_span(name, start, end)
