"""Occlusion: the part of a window in which a genre was heard."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from service.audio import Window, pad_to_length
from service.classification.occlusion import SEGMENTS, Evidence, occlude
from service.inference.backend import Outputs, Windows
from service.inference.engine import Engine
from tests.service.classification.test_classifier import FixedBackend, classifier

RATE = 16_000


class LoudFourthTenth(FixedBackend):
    """Hears jazz where the fourth tenth of the window is loud."""

    def infer(self, windows: Windows) -> Outputs:
        tenth = windows.shape[1] // 10
        loudness = np.minimum(np.abs(windows[:, 3 * tenth : 4 * tenth]).mean(axis=1), 0.8)
        return Outputs(np.stack([loudness + 0.1, 0.9 - loudness], axis=1).astype(np.float32))


def test_evidence_is_where_the_genre_was_heard() -> None:
    backend = LoudFourthTenth()
    backend.gate.set()
    artefact = replace(classifier(backend).engine.artefact, do_normalize=False)
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)

    async def look() -> Evidence:
        return await occlude(Engine(artefact, backend), Window(10.0, 11.0, noise), "jazz")

    found = asyncio.run(look())
    assert found.probability > 0.8
    assert len(found.segments) == SEGMENTS
    assert (found.segments[0].start_s, found.segments[-1].end_s) == (10.0, 11.0)
    assert all(first.end_s == second.start_s for first, second in zip(found.segments, found.segments[1:], strict=False))
    assert max(found.segments, key=lambda segment: segment.probability_drop).start_s == pytest.approx(10.33, abs=0.07)
    elsewhere = [segment for segment in found.segments if segment.end_s < 10.25 or segment.start_s > 10.45]
    assert all(segment.probability_drop == pytest.approx(0) for segment in elsewhere)


class Remembering(FixedBackend):
    """Keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[Windows] = []

    def infer(self, windows: Windows) -> Outputs:
        self.windows += [*windows]
        return super().infer(windows)


def test_a_short_recording_is_silenced_at_the_same_place_in_each_repetition() -> None:
    backend = Remembering()
    backend.gate.set()
    artefact = replace(classifier(backend).engine.artefact, do_normalize=False)
    recording = np.random.default_rng(0).standard_normal(5_400).astype(np.float32)
    window = Window(0.0, len(recording) / RATE, pad_to_length(recording, RATE))

    async def look() -> Evidence:
        engine = Engine(artefact, backend)
        backend.windows.clear()
        return await occlude(engine, window, "jazz")

    asyncio.run(look())
    assert len(backend.windows) == SEGMENTS + 1
    for heard in backend.windows:
        np.testing.assert_array_equal(heard[5_120:], heard[:-5_120])


@pytest.fixture
def backend() -> FixedBackend:
    backend = FixedBackend()
    backend.gate.set()
    return backend
