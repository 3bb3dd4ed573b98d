"""Actions of the page: each asks the classifier, and returns the new content of Gradio's components."""

import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import gradio as gr

from service.classification.classifier import Classifier
from service.errors import InternalError, NotReady, ServiceError
from service.schemas import Classification, Span
from service.ui.hardening.uploads import upload_dir
from service.ui.session import PartialAnswer, QueuedUpdate, Turn, WaitingLine, listen
from service.ui.views import alike, answer, multi_upload, results_table, timeline, wording
from service.ui.views import spectrogram as inside
from service.ui.views.alike import Recording
from service.ui.views.figures import Pictures

logger = logging.getLogger(__name__)

_MAX_PARTS = 200
_INTERVAL_S = 0.5


@dataclass
class Latest:
    """The final answer that the page shows. is_kept: whether it is among the results of the visit."""

    name: str
    classification: Classification
    is_kept: bool = False


class Actions:
    """Actions of one page, shared by its visitors."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._pictures = Pictures()
        self._line = WaitingLine()

    async def classify(self, path: str | None, turn: Turn) -> AsyncIterator[tuple[Any, ...]]:
        """Yields what `answer` does. Ends early where the visitor has gone on to another recording."""
        async with aclosing(turn.take(self.answer(path))) as updates:
            async for update in updates:
                yield update

    async def answer(self, path: str | None) -> AsyncGenerator[tuple[Any, ...]]:
        """Yields (notice, answer, scores, timeline, the place to look inside, latest), the last one only with the final
        answer."""
        nothing = gr.HTML(visible=False), gr.Label(visible=False), gr.HTML(visible=False), gr.Accordion(visible=False)
        try:
            with self._opened(path) as (name, file):
                yield _say("Listening ..."), *nothing, None
                async with aclosing(listen(self._classifier, file, self._line)) as updates:
                    async for update in updates:
                        yield await self._show(update, name)
        except _Trouble as trouble:
            yield _say(str(trouble), alert=True), *nothing, None

    async def _show(self, update: QueuedUpdate | PartialAnswer, name: str) -> tuple[Any, ...]:
        if isinstance(update, QueuedUpdate):
            return _say(update.words), gr.skip(), gr.skip(), gr.skip(), gr.skip(), None
        classification = update.answer
        picture = await self._pictures.draw(timeline.render, classification, update.peaks)
        bars = {score.label: wording.bar(score.score) for score in classification.scores}
        so_far = None if update.finished else f"Heard {update.done} of {update.total} parts."
        return (
            gr.HTML(visible=False) if so_far is None else _say(f"Listening: {update.done} of {update.total} parts ..."),
            gr.HTML(answer.render(classification, progress=so_far), visible=True),
            gr.Label(bars, visible=True),
            gr.HTML(picture, visible=True),
            gr.skip(),
            Latest(name, classification) if update.finished else None,
        )

    def remember(
        self, latest: Latest | None, results: list[Recording]
    ) -> tuple[list[Recording], Any, Any, Any, Any, Any]:
        """After `classify`: (results, table, downloads, parts to look into, genres to look for, the place to look)."""
        # What the visitor has gone on from ends, too, maybe when the next answer is there.
        if latest is None or latest.is_kept:
            return results, gr.skip(), gr.skip(), gr.skip(), gr.skip(), gr.skip()
        latest.is_kept = True
        classification = latest.classification
        _append(results, alike.classified(_next_number(results), latest.name, classification))
        spans = (classification.timeline or [])[:_MAX_PARTS]
        parts = [
            (f"{wording.clock(span.start_s)} {span.genre} {wording.percent(span.confidence)}", span.start_s)
            for span in spans
        ]
        most_typical = max(spans, key=lambda span: _score_of(span, classification.genre))
        genres = [score.label for score in classification.scores]
        return (
            results,
            *self._table(results),
            gr.Dropdown(parts, value=most_typical.start_s),
            gr.Dropdown(genres, value=classification.genre),
            gr.Accordion(visible=True),
        )

    async def batch(self, results: list[Recording], event: gr.EventData) -> AsyncIterator[tuple[Any, ...]]:
        """Yields (notice, results, table, downloads) after each file.

        Adds to `results`, which is the visit's own list: what is heard elsewhere on the page meanwhile stays in it.
        """
        files = multi_upload.files_of(event._data)
        shown_at = -math.inf
        for position, (name, path) in enumerate(files, 1):
            # Each update sends the whole table: not more often than a person can look.
            if path and time.monotonic() - shown_at > _INTERVAL_S:
                shown_at = time.monotonic()
                yield _say(f"Listening to file {position} of {len(files)} ..."), results, *self._table(results)
            heard = await self._heard(path) if path else wording.NOT_SENT
            number = _next_number(results)
            _append(
                results,
                alike.failed(number, name, heard) if isinstance(heard, str) else alike.classified(number, name, heard),
            )
        yield _say(f"Done: {len(files)} files."), results, *self._table(results)

    async def _heard(self, path: str) -> Classification | str:
        """The answer to an upload; or why there is none, in words for the visitor."""
        try:
            with self._opened(path) as (_, file):
                async with aclosing(listen(self._classifier, file, self._line)) as updates:
                    async for update in updates:
                        if isinstance(update, PartialAnswer) and update.finished:
                            return update.answer
        except _Trouble as trouble:
            return str(trouble)
        raise AssertionError("listening ends with an answer or an error")

    def _table(self, results: list[Recording]) -> tuple[Any, Any]:
        rows = [recording.row for recording in results]
        return gr.Dataframe(results_table.rows(rows), visible=bool(rows)), results_table.downloads(rows)

    def alike(self, results: list[Recording]) -> Any:
        """What is most like the latest recording."""
        return _show_alike(results, None)

    def alike_chosen(self, results: list[Recording], event: gr.EventData) -> Any:
        """What is most like the recording that the visitor chose on the map."""
        data = event._data
        number = data.get("number") if isinstance(data, dict) else None
        return _show_alike(results, number if isinstance(number, int) else None)

    async def spectrogram(self, path: str | None, start_s: float | None) -> Any:
        """The mel spectrogram of the window at `start_s`. Waits in the classifier's queue, as `evidence` does."""
        try:
            with self._opened(path) as (_, file):
                window = await self._classifier.read_window(file, start_s or 0.0)
                rate = self._classifier.engine.artefact.window.sampling_rate
                html = await self._pictures.draw(inside.spectrogram_html, window, rate)
        except _Trouble as trouble:
            return _say(str(trouble), alert=True)
        return gr.HTML(html, visible=True)

    async def evidence(self, path: str | None, start_s: float | None, genre: str | None) -> Any:
        """The picture of the seconds that speak for a genre."""
        try:
            with self._opened(path) as (_, file):
                found = await self._classifier.evidence(file, genre or "", start_s or 0.0)
                html = await self._pictures.draw(inside.evidence_html, found)
        except _Trouble as trouble:
            return _say(str(trouble), alert=True)
        return gr.HTML(html, visible=True)

    def readiness(self) -> tuple[Any, Any]:
        """(notice, timer): polled until the model is loaded, then says what the model does not know."""
        try:
            engine = self._classifier.engine
        except NotReady as error:
            return _say(f"{error.title}. This page goes on by itself."), gr.Timer(active=True)
        if engine.artefact.trained_on and engine.artefact.trained_on.synthetic:
            return _say(wording.SYNTHETIC), gr.Timer(active=False)
        return gr.HTML(visible=False), gr.Timer(active=False)

    @contextmanager
    def _opened(self, path: str | None) -> Iterator[tuple[str, BinaryIO]]:
        """The name of an upload, and the upload, open. Raises _Trouble for everything that goes wrong with it."""
        if path is None:
            raise _Trouble(wording.CHOOSE_FIRST)
        # Gradio has checked this; a second look costs nothing, and Gradio has been wrong before.
        if not Path(path).resolve().is_relative_to(upload_dir().resolve()):
            raise _Trouble(wording.UPLOAD_FIRST)
        try:
            with open(path, "rb") as file:
                yield Path(path).name, file
        except FileNotFoundError:
            raise _Trouble(wording.EXPIRED) from None
        except ServiceError as error:
            self._classifier.record_refusal(error)
            raise _Trouble(wording.explain(error)) from None
        except Exception:
            logger.exception("the page failed")
            self._classifier.record_refusal(InternalError())
            raise _Trouble(wording.FAILED) from None


def _score_of(span: Span, genre: str) -> float:
    return next(score.score for score in span.scores if score.label == genre)


def _next_number(results: list[Recording]) -> int:
    return results[-1].number + 1 if results else 1


def _append(results: list[Recording], recording: Recording) -> None:
    results.append(recording)
    del results[: -results_table.MOST_RESULTS]


def _show_alike(results: list[Recording], number: int | None) -> Any:
    html = alike.render(results, number)
    return gr.HTML(html, visible=bool(html))


def _say(text: str, *, alert: bool = False) -> Any:
    return gr.HTML(wording.notice(text, alert=alert), visible=True)


class _Trouble(Exception):
    """A failure, in words for the visitor."""
