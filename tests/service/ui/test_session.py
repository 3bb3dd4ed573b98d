"""Listening on the page: partial answers, the waiting line, and users who leave."""

import asyncio
import io
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack

import pytest

from service.classification.admission import Admission
from service.classification.classifier import Classifier
from service.inference.backend import Outputs, Windows
from service.ui.session import LISTENERS, PartialAnswer, QueuedUpdate, Turn, WaitingLine, listen
from tests.service.classification.test_classifier import FixedBackend, classifier
from tests.support.audio_files import Waveform, encode, sweep


def heard(made: Classifier, waveform: Waveform) -> list[PartialAnswer]:
    """What the page is told of a recording, without waiting."""

    async def collect() -> list[PartialAnswer]:
        updates = [update async for update in listen(made, io.BytesIO(encode(waveform, "wav")), WaitingLine())]
        assert all(isinstance(update, PartialAnswer) for update in updates)
        return [update for update in updates if isinstance(update, PartialAnswer)]

    return asyncio.run(collect())


@pytest.fixture
def backend() -> FixedBackend:
    backend = FixedBackend()
    backend.gate.set()
    return backend


def test_listening_ends_with_the_answer_of_the_api(backend: FixedBackend) -> None:
    made = classifier(backend)
    last = heard(made, sweep(7.5))[-1]
    assert last.finished
    expected = asyncio.run(made.classify(io.BytesIO(encode(sweep(7.5), "wav")), timeline=True, embedding=True))
    assert last.answer == expected
    assert 0 <= last.peaks[0, 0] < 0.1
    assert 7 < last.peaks[-1, 0] < 7.5


def test_a_visitor_in_line_is_told_the_place_and_goes_on(backend: FixedBackend) -> None:
    made, line = classifier(backend), WaitingLine()

    async def wait() -> list[QueuedUpdate | PartialAnswer]:
        with ExitStack() as others:
            before = [others.enter_context(line.place()) for _ in range(LISTENERS + 1)]
            assert [ahead() for ahead in before] == [0] * LISTENERS + [1]
            updates = listen(made, io.BytesIO(encode(sweep(2), "wav")), line)
            seen = [await anext(updates)]
        return [*seen, *[update async for update in updates]]

    first, *rest = asyncio.run(wait())
    assert first == QueuedUpdate("In line: 2 recordings before yours. It starts by itself.")
    assert isinstance(rest[-1], PartialAnswer)
    assert rest[-1].finished


def test_recording_too_long_for_a_timeline_is_classified_by_windows(backend: FixedBackend) -> None:
    made = classifier(backend)
    # A second takes six: ten are allowed.
    made.engine.throughput = 1 / 6
    last = heard(made, sweep(20))[-1]
    assert last.finished
    assert last.answer.duration_s == 20
    assert last.answer.analysed_s == 5
    assert last.answer.timeline is not None
    assert [span.start_s for span in last.answer.timeline] == [0, 4.75, 9.5, 14.25, 19]


class SlowBackend(FixedBackend):
    def infer(self, windows: Windows) -> Outputs:
        time.sleep(0.1)
        return super().infer(windows)


def test_upload_is_read_no_further_after_its_visitor_left() -> None:
    backend = SlowBackend()
    backend.gate.set()
    admission = Admission(1_000, deadline_s=60)
    made = classifier(backend, admission=admission, deadline_s=60)

    async def leave() -> None:
        updates = listen(made, io.BytesIO(encode(sweep(20), "wav")), WaitingLine())
        first = await anext(updates)
        assert isinstance(first, PartialAnswer)
        assert 0 < first.done < first.total == 20
        assert admission.queued_s > 0
        await updates.aclose()
        assert admission.queued_s == 0

    asyncio.run(leave())
    assert backend.computed < 20


def test_a_new_turn_begins_where_the_one_before_has_ended() -> None:
    ended: list[str] = []

    async def updates(name: str, count: int) -> AsyncGenerator[str]:
        try:
            for number in range(count):
                yield f"{name}{number}"
            if name == "a":
                await asyncio.sleep(600)
        finally:
            # What ends takes its time, in which nobody else fills the view.
            await asyncio.sleep(0.05)
            ended.append(name)

    async def visit() -> list[str]:
        turn, shown = Turn(), []

        async def show(name: str) -> None:
            async for update in turn.take(updates(name, 2)):
                assert name == "a" or ended
                shown.append(update)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(show("a"))
            while len(shown) < 2:
                await asyncio.sleep(0)
            # The one in the middle never gets its turn.
            tasks.create_task(show("b"))
            await asyncio.sleep(0)
            tasks.create_task(show("c"))
        return shown

    assert asyncio.run(asyncio.wait_for(visit(), 60)) == ["a0", "a1", "c0", "c1"]
    assert ended == ["a", "c"]
