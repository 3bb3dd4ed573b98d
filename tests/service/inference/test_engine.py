"""The engine batches windows of several requests, fairly, and stops for those that were cancelled."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from service.audio import WindowSpec
from service.inference.backend import Outputs, Probabilities, Windows
from service.inference.engine import Engine
from service.model.artefact import Artefact


@dataclass
class RecordingBackend:
    """Answers one-hot and notes the first sample of each window; waits at the gate when it is closed."""

    name: str = "recording"
    note: str | None = None
    max_batch: int = 1
    batches: list[int] = field(default_factory=list)
    order: list[float] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def infer(self, windows: Windows) -> Outputs:
        assert self.gate.wait(60)
        self.order += [float(window[0]) for window in windows]
        self.batches.append(len(windows))
        return Outputs(np.eye(2, dtype=np.float32)[np.zeros(len(windows), np.int64)])


@pytest.fixture
def artefact() -> Artefact:
    return Artefact(
        folder=Path("nowhere"),
        model_id="you/genre",
        revision="c" * 40,
        labels=("quiet", "loud"),
        thresholds=None,
        window=WindowSpec(16_000, 1.0),
        do_normalize=False,
        temperature=1.0,
        confidence_threshold=0.5,
        trained_on=None,
        graphs={},
        golden=None,
        reference=None,
        familiarity=None,
        defaulted_fields=(),
    )


@pytest.fixture
def backend() -> RecordingBackend:
    backend = RecordingBackend()
    backend.gate.set()
    return backend


@pytest.fixture
def engine(artefact: Artefact, backend: RecordingBackend) -> Engine:
    engine = Engine(artefact, backend)
    backend.order.clear()
    return engine


def windows(*marks: float) -> Windows:
    return np.array([[mark] * 16_000 for mark in marks], np.float32)


def test_the_engine_is_warm_when_it_is_built(artefact: Artefact, backend: RecordingBackend) -> None:
    engine = Engine(artefact, backend)
    assert len(backend.order) == 1
    assert engine.throughput > 0


def test_engine_answers_one_row_a_window(engine: Engine) -> None:
    assert asyncio.run(engine.probabilities(windows(1, 2, 3))).shape == (3, 2)


def test_a_request_of_many_windows_does_not_hold_up_a_short_one(engine: Engine, backend: RecordingBackend) -> None:
    async def both() -> None:
        backend.gate.clear()
        long = asyncio.create_task(engine.probabilities(windows(1, 2, 3, 4, 5, 6)))
        await asyncio.sleep(0)
        short = asyncio.create_task(engine.probabilities(windows(100)))
        await asyncio.sleep(0)
        backend.gate.set()
        await asyncio.gather(long, short)

    asyncio.run(both())
    assert backend.order.index(100) <= 1
    assert sorted(backend.order) == [1, 2, 3, 4, 5, 6, 100]


def test_a_cancelled_request_computes_no_further_window(engine: Engine, backend: RecordingBackend) -> None:
    async def cancel_then_ask() -> None:
        backend.gate.clear()
        long = asyncio.create_task(engine.probabilities(windows(1, 2, 3, 4)))
        waiting = asyncio.create_task(engine.probabilities(windows(50)))
        await asyncio.sleep(0.02)
        long.cancel()
        waiting.cancel()
        await asyncio.wait([long, waiting])
        backend.gate.set()
        await engine.probabilities(windows(9))
        assert long.cancelled()
        assert waiting.cancelled()

    asyncio.run(cancel_then_ask())
    # The window under way cannot be stopped; nothing behind it is computed.
    assert backend.order == [1, 9]


def test_speed_follows_the_machine(engine: Engine, backend: RecordingBackend) -> None:
    # Fixed, as a busy machine is slow from the start.
    engine.throughput = 1_000.0
    engine.backend = SlowBackend()
    asyncio.run(engine.probabilities(windows(*range(20))))
    assert engine.throughput < 500


class SlowBackend:
    name = "slow"
    note: str | None = None
    max_batch = 1

    def infer(self, windows: Windows) -> Outputs:
        threading.Event().wait(0.01)
        return Outputs(np.full((len(windows), 2), 0.5, np.float32))


def test_windows_of_several_requests_are_computed_together(artefact: Artefact, backend: RecordingBackend) -> None:
    engine = Engine(artefact, backend, max_batch=3, max_wait_s=0.05)
    backend.batches.clear()

    async def five() -> list[Probabilities]:
        return await asyncio.gather(*(engine.probabilities(windows(mark)) for mark in range(5)))

    answers = asyncio.run(five())
    assert backend.batches == [3, 2]
    assert [answer.shape for answer in answers] == [(1, 2)] * 5


def test_a_batch_that_is_full_does_not_wait(artefact: Artefact, backend: RecordingBackend) -> None:
    engine = Engine(artefact, backend, max_batch=2, max_wait_s=600)

    async def two() -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(engine.probabilities(windows(1)), engine.probabilities(windows(2)))

    asyncio.run(two())


def test_an_error_of_the_backend_reaches_every_request_of_the_batch_and_no_other(
    artefact: Artefact, backend: RecordingBackend
) -> None:
    engine = Engine(artefact, backend, max_batch=2)
    working, engine.backend = engine.backend, BrokenBackend()

    async def fail_then_work() -> Sequence[Probabilities | BaseException]:
        failed = await asyncio.gather(
            engine.probabilities(windows(1)), engine.probabilities(windows(2)), return_exceptions=True
        )
        engine.backend = working
        await engine.probabilities(windows(3))
        return failed

    assert [type(answer) for answer in asyncio.run(fail_then_work())] == [RuntimeError, RuntimeError]


class BrokenBackend:
    name = "broken"
    note: str | None = None
    max_batch = 2

    def infer(self, windows: Windows) -> Outputs:
        raise RuntimeError("out of luck")


def test_windows_are_normalised_when_the_model_wants_it(artefact: Artefact, backend: RecordingBackend) -> None:
    engine = Engine(replace(artefact, do_normalize=True), backend)
    backend.order.clear()
    ramp = np.linspace(5, 7, 16_000, dtype=np.float32)[None]
    asyncio.run(engine.probabilities(ramp))
    assert backend.order == [pytest.approx((5 - 6) / np.sqrt(1 / 3), rel=1e-3)]
