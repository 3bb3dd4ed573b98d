"""Classifies one recording of the page: waits in line, then reports partial answers."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import numpy as np

from service.classification.classifier import ClassificationProgress, Classifier
from service.errors import AudioTooLong, ModelLoading, Overloaded
from service.schemas import Classification
from service.ui.views.timeline import Peaks, peaks_of

T = TypeVar("T")

LISTENERS = 8

# Between two looks at a request: each costs a picture.
_INTERVAL_S = 0.5
_MAX_WAIT_S = 300.0
_RETRY_S = 2.0


@dataclass(frozen=True)
class QueuedUpdate:
    """An update while a recording waits. words: what it waits for, as the visitor reads it."""

    words: str


@dataclass(frozen=True)
class PartialAnswer:
    """The answer from the windows computed so far. done, total: windows; equal when the answer is final."""

    answer: Classification
    peaks: Peaks
    done: int
    total: int

    @property
    def finished(self) -> bool:
        """Whether the answer is final."""
        return self.done == self.total


class Turn:
    """A visitor's turns at one view of a recording: what began last fills it, and ends what began before."""

    def __init__(self) -> None:
        self._over = asyncio.Event()
        self._lock = asyncio.Lock()

    async def take(self, updates: AsyncGenerator[T]) -> AsyncGenerator[T]:
        """The updates until another takes its turn. They begin where those before have ended: none comes late."""
        self._over.set()
        over = self._over = asyncio.Event()
        async with self._lock, aclosing(updates):
            is_over = asyncio.create_task(over.wait())
            try:
                while not over.is_set():
                    update = asyncio.ensure_future(anext(updates, None))
                    try:
                        await asyncio.wait({update, is_over}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        await _cancelled(update)
                    if update.cancelled() or (latest := update.result()) is None:
                        return
                    yield latest
            finally:
                is_over.cancel()


class WaitingLine:
    """Visitors in the order in which they came; the first `LISTENERS` are listened to. For the event loop only."""

    def __init__(self) -> None:
        self._visitors: list[object] = []

    @contextmanager
    def place(self) -> Iterator[Callable[[], int]]:
        """A place in line while the block runs: a function that tells how many are to be listened to before."""
        visitor = object()
        self._visitors.append(visitor)
        try:
            yield lambda: max(0, self._visitors.index(visitor) - LISTENERS + 1)
        finally:
            self._visitors.remove(visitor)


async def _cancelled(task: asyncio.Future[Any]) -> None:
    """Cancel a task, and wait until it has ended."""
    task.cancel()
    await asyncio.wait({task})


async def listen(
    classifier: Classifier, file: BinaryIO, line: WaitingLine
) -> AsyncGenerator[QueuedUpdate | PartialAnswer]:
    """The whole recording with its timeline; where that would take too long, windows spread over it.

    Waits in `line`, then some minutes while the model loads or the queue is full. Raises what
    `Classifier.classify` raises.
    """
    with line.place() as ahead:
        last_shown = 0
        while waiting := ahead():
            if waiting != last_shown:
                last_shown = waiting
                yield QueuedUpdate(f"In line: {_recordings(waiting)} before yours. It starts by itself.")
            await asyncio.sleep(_INTERVAL_S)
        async with aclosing(_listen_when_ready(classifier, file)) as updates:
            async for update in updates:
                yield update


def _recordings(count: int) -> str:
    return "1 recording" if count == 1 else f"{count} recordings"


async def _listen_when_ready(classifier: Classifier, file: BinaryIO) -> AsyncGenerator[QueuedUpdate | PartialAnswer]:
    timeline, waited_s = True, 0.0
    while True:
        try:
            # Closed with this generator, not later, so that the file is not read any more.
            async with aclosing(_listen(classifier, file, timeline=timeline)) as updates:
                async for update in updates:
                    yield update
            return
        except AudioTooLong:
            if not timeline:
                raise
            timeline = False
        except (ModelLoading, Overloaded) as error:
            if waited_s >= _MAX_WAIT_S:
                raise
            yield QueuedUpdate(_reason(error))
            pause_s = _RETRY_S if isinstance(error, ModelLoading) else float(error.retry_after_s or _RETRY_S)
            await asyncio.sleep(pause_s)
            waited_s += pause_s


def _reason(error: ModelLoading | Overloaded) -> str:
    if isinstance(error, ModelLoading):
        return "The model is still loading. Your recording is kept, and listening starts by itself."
    return f"{error.detail.partition('.')[0]}. Your recording is kept, and listening starts by itself."


async def _listen(classifier: Classifier, file: BinaryIO, *, timeline: bool) -> AsyncGenerator[PartialAnswer]:
    outline: list[Peaks] = []
    newest: ClassificationProgress | None = None
    engine = classifier.engine
    sampling_rate = engine.artefact.window.sampling_rate

    def note(progress: ClassificationProgress) -> None:
        nonlocal newest
        newest = progress
        if progress.window:
            outline.append(peaks_of(progress.window, sampling_rate, progress.total))

    work = asyncio.create_task(
        classifier.classify(file, timeline=timeline, embedding=engine.answers_embeddings, on_progress=note)
    )
    try:
        last_shown = 0
        while not (await asyncio.wait({work}, timeout=_INTERVAL_S))[0]:
            if newest and outline and newest.done > last_shown and newest.done < newest.total:
                last_shown = newest.done
                yield PartialAnswer(newest.answer(), np.concatenate(outline), newest.done, newest.total)
        answer = work.result()
        assert newest is not None
        # Without a timeline of its own, the answer shows the windows that were heard.
        answer = answer.model_copy(update={"timeline": newest.answer().timeline})
        yield PartialAnswer(answer, np.concatenate(outline), newest.total, newest.total)
    finally:
        # A visitor who leaves stops the work; the file must outlive it.
        await _cancelled(work)
