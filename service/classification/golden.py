"""Checks an engine with the golden clips of its model, the way requests go: decoder processes, windows, engine."""

import asyncio
import logging
import time

import numpy as np

from service.audio import Placement
from service.decoding.pool import DecoderPool
from service.errors import AudioError
from service.inference.engine import Engine
from service.model import golden
from service.model.serving_file import GoldenClip

logger = logging.getLogger(__name__)


async def check_golden_clips(engine: Engine, decoders: DecoderPool) -> None:
    """Compare the engine's scores with those that training wrote. Raises StartupError when they are not the same, and
    a ServiceError when the decoders cannot work now.

    A model without golden clips passes.
    """
    artefact = engine.artefact
    if artefact.golden is None:
        return
    started = time.perf_counter()
    precision = golden.precision_of(engine.backend.name)
    differences = [
        golden.compare(artefact, clip, await _scores_of(engine, decoders, clip), precision)
        for clip in artefact.golden.clips
    ]
    logger.info(
        "golden clips passed",
        extra={
            "revision": artefact.revision,
            "clips": len(differences),
            "largest_difference": round(max(differences), 6),
            "tolerance": golden.tolerance_of(artefact, precision),
            "check_s": round(time.perf_counter() - started, 1),
        },
    )


async def _scores_of(engine: Engine, decoders: DecoderPool, clip: GoldenClip) -> golden.Scores:
    artefact = engine.artefact
    file = await asyncio.to_thread(golden.read_clip, artefact, clip)
    rows = []
    try:
        async with decoders.open(file, artefact.window) as recording:
            placement = Placement.evenly(recording.progress, artefact.window, golden.MAX_WINDOWS)
            while (start_s := placement.next(recording.progress)) is not None:
                if window := await recording.read(start_s):
                    rows.append((await engine.infer(window.waveform)).probabilities)
        recording.progress.require_sound()
    except AudioError as error:
        raise golden.clip_error(artefact, clip, error.detail) from error
    scores: golden.Scores = np.mean(rows, axis=0)
    return scores
