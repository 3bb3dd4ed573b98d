"""Hostile files through one decoder: their outcomes and the decoders that they cost."""

import asyncio
import io
import struct

import numpy as np

from service.audio import WindowSpec
from service.decoding.pool import DecoderPool
from service.errors import ServiceError
from service.metrics import Metrics

RATE = 16_000
WINDOW_S = 30.0
_NOISE = np.random.default_rng(0).bytes(60_000)


def hear(*files: bytes, cpu_s: int = 15) -> tuple[list[float | type[ServiceError]], int]:
    """The seconds analysed of each file, or the kind of problem that it is; and how many decoders were lost."""

    async def hear_all() -> tuple[list[float | type[ServiceError]], int]:
        metrics = Metrics()
        decoders = DecoderPool(1, metrics, wall_s=30, cpu_s=cpu_s)
        outcomes: list[float | type[ServiceError]] = []
        for file in files:
            try:
                outcomes.append(await _hear_one(decoders, file))
            except ServiceError as problem:
                outcomes.append(type(problem))
        decoders.close()
        (counter,) = metrics.decoder_restarts.collect()
        return outcomes, int(sum(sample.value for sample in counter.samples if sample.name.endswith("_total")))

    return asyncio.run(hear_all())


async def _hear_one(decoders: DecoderPool, file: bytes) -> float:
    async with decoders.open(io.BytesIO(file), WindowSpec(RATE, WINDOW_S)) as recording:
        duration_s = recording.progress.duration_s
        for start_s in (0.0, duration_s / 2, max(0.0, duration_s - WINDOW_S)):
            window = await recording.read(start_s)
            assert window is None or window.waveform.shape == (RATE * WINDOW_S,)
        recording.progress.require_sound()
        return recording.progress.analysed_s


def _wav(*, rate: int = 8_000, channels: int = 1, bits: int = 16, size: int = len(_NOISE), tag: int = 1) -> bytes:
    block = channels * bits // 8
    fields = struct.pack("<IHHIIHH", 16, tag, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + fields + b"data" + struct.pack("<I", size) + _NOISE
