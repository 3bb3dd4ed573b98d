"""A started decoder pool, a recording that is read through it, and the state of its processes."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from service.audio import WindowSpec
from service.decoding.pool import DecoderPool
from service.metrics import Metrics
from tests.support.audio_files import Waveform, encode, sweep

RATE = 16_000
WINDOW_S = 2.0
STARTS_S = (0.0, 2.0, 4.0)
WAV = encode(sweep(6.0), "wav")


@asynccontextmanager
async def started(
    count: int = 1, *, wall_s: float = 30, cpu_s: int = 15, start_s: float = 30
) -> AsyncIterator[tuple[DecoderPool, Metrics]]:
    metrics = Metrics()
    decoders = DecoderPool(count, metrics, wall_s=wall_s, cpu_s=cpu_s, start_s=start_s)
    decoders.start()
    try:
        yield decoders, metrics
    finally:
        decoders.close()


async def read(decoders: DecoderPool, data: bytes, *, window_s: float = WINDOW_S) -> list[Waveform]:
    windows = []
    async with decoders.open(io.BytesIO(data), WindowSpec(RATE, window_s)) as recording:
        for start_s in STARTS_S:
            if window := await recording.read(start_s):
                windows.append(window.waveform)
    return windows


def restarts(metrics: Metrics) -> dict[str, int]:
    """By reason, without those that did not happen."""
    (counter,) = metrics.decoder_restarts.collect()
    return {
        sample.labels["reason"]: int(sample.value)
        for sample in counter.samples
        if sample.name.endswith("_total") and sample.value
    }


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def state(pid: int) -> str:
    """R, S, T (stopped), Z (ended) ..., and nothing once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""
