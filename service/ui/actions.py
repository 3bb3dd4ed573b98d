"""What the page does when its visitor acts: each action asks the classifier, and answers with what the parts show."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import gradio as gr
from gradio.utils import get_upload_folder

from service.classify import Classifier
from service.errors import NotReady, ServiceError
from service.schemas import Classification
from service.ui import answer, compare, inside, timeline, words
from service.ui.compare import Result
from service.ui.listen import Heard, Waiting, listen
from service.ui.pictures import Pictures

logger = logging.getLogger(__name__)

MOST_FILES = 50
"""Of a batch."""

_PICTURE_TIMEOUT_S = 20
_MOST_PARTS = 200


class Actions:
    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._pictures = Pictures()

    async def classify(self, path: str | None) -> AsyncIterator[tuple[Any, ...]]:
        """Yields (notice, answer, scores, timeline, latest), the last one only with the final answer."""
        hidden = gr.HTML(visible=False)
        try:
            if path is None:
                raise gr.Error(words.CHOOSE_FIRST, print_exception=False, visible=False)
            with _opened(path) as file:
                yield _say("Listening ..."), hidden, gr.Label(visible=False), hidden, None
                async for update in listen(self._classifier, file):
                    yield await self._show(update, Path(path).name)
        except gr.Error as error:
            yield _say(error.message, alert=True), hidden, gr.Label(visible=False), hidden, None
            raise

    async def _show(self, update: Waiting | Heard, name: str) -> tuple[Any, ...]:
        if isinstance(update, Waiting):
            return _say(update.words), gr.skip(), gr.skip(), gr.skip(), None
        heard = update.answer
        picture = await self._pictures.draw(timeline.render, heard, update.peaks)
        bars = {score.label: round(score.score, 4) for score in heard.scores}
        so_far = None if update.finished else f"Heard {update.done} of {update.total} parts."
        return (
            gr.HTML(visible=False) if so_far is None else _say(f"Listening: {update.done} of {update.total} parts ..."),
            gr.HTML(answer.render(heard, heard=so_far), visible=True),
            gr.Label(bars, visible=True),
            gr.HTML(picture, visible=True),
            (name, heard) if update.finished else None,
        )

    def remember(
        self, latest: tuple[str, Classification] | None, results: list[Result]
    ) -> tuple[list[Result], Any, Any, Any, Any, Any]:
        """After `classify`: (results, table, downloads, parts to look into, genres to look for, the place to look)."""
        if latest is None:
            return results, gr.skip(), gr.skip(), gr.skip(), gr.skip(), gr.Accordion(visible=False)
        name, heard = latest
        results = [*results, compare.result(name, heard)][-compare.MOST_RESULTS :]
        spans = (heard.timeline or [])[:_MOST_PARTS]
        parts = [
            (f"{words.clock(span.start_s)} {span.genre} {words.percent(span.confidence)}", span.start_s)
            for span in spans
        ]
        telling = max(spans, key=lambda span: next(score.score for score in span.scores if score.label == heard.genre))
        genres = [score.label for score in heard.scores]
        return (
            results,
            *self._table(results),
            gr.Dropdown(parts, value=telling.start_s),
            gr.Dropdown(genres, value=heard.genre),
            gr.Accordion(visible=True),
        )

    async def batch(self, paths: list[str] | None, results: list[Result]) -> AsyncIterator[tuple[Any, ...]]:
        """Yields (notice, results, table, downloads) after each file."""
        paths = paths or []
        for position, path in enumerate(paths[:MOST_FILES], 1):
            yield _say(f"Listening to file {position} of {len(paths)} ..."), results, *self._table(results)
            results = [*results, await self._row(path)][-compare.MOST_RESULTS :]
        left_out = f" The first {MOST_FILES} were taken; drop the others now." if len(paths) > MOST_FILES else ""
        yield _say(f"Done: {min(len(paths), MOST_FILES)} files.{left_out}"), results, *self._table(results)

    async def _row(self, path: str) -> Result:
        name = Path(path).name
        try:
            with _opened(path) as file:
                async for update in listen(self._classifier, file):
                    if isinstance(update, Heard) and update.finished:
                        return compare.result(name, update.answer)
        except gr.Error as error:
            return compare.failure(name, error.message)
        raise AssertionError("listening ends with an answer or an error")

    def _table(self, results: list[Result]) -> tuple[Any, Any]:
        return gr.Dataframe(compare.rows(results), visible=bool(results)), compare.downloads(results)

    async def spectrogram(self, path: str | None, start_s: float | None) -> Any:
        """Computed only when asked, as is `evidence`; both take their turn in the classifier's queue."""
        with _told() as said, _opened(path) as file:
            window = await self._classifier.read_window(file, start_s or 0.0)
            rate = self._classifier.engine.artefact.sampling_rate
            async with asyncio.timeout(_PICTURE_TIMEOUT_S):
                said.append(await self._pictures.draw(inside.spectrogram_html, window, rate))
        return gr.HTML(said[0], visible=True)

    async def evidence(self, path: str | None, start_s: float | None, genre: str | None) -> Any:
        with _told() as said, _opened(path) as file:
            found = await self._classifier.evidence(file, genre or "", start_s or 0.0)
            async with asyncio.timeout(_PICTURE_TIMEOUT_S):
                said.append(await self._pictures.draw(inside.evidence_html, found))
        return gr.HTML(said[0], visible=True)

    def readiness(self) -> tuple[Any, Any]:
        """(notice, timer): asked again and again until the model is there."""
        try:
            _ = self._classifier.engine
        except NotReady as error:
            return gr.HTML(words.notice(f"{error.title}. This page goes on by itself."), visible=True), gr.Timer(
                active=True
            )
        return gr.HTML(visible=False), gr.Timer(active=False)


def _say(text: str, *, alert: bool = False) -> Any:
    return gr.HTML(words.notice(text, alert=alert), visible=True)


@contextmanager
def _told() -> Iterator[list[str]]:
    """What to show; an error of the block is put there in words."""
    said: list[str] = []
    try:
        yield said
    except gr.Error as error:
        said.append(words.notice(error.message, alert=True))


@contextmanager
def _opened(path: str | None) -> Iterator[BinaryIO]:
    """An upload, open; everything that goes wrong with it in words, and nothing of our own.

    The page shows errors in its notice, so Gradio's own pop-up stays away.
    """
    if path is None:
        raise _error(words.CHOOSE_FIRST)
    # Gradio has checked this; a second look costs nothing, and Gradio has been wrong before.
    if not Path(path).resolve().is_relative_to(Path(get_upload_folder()).resolve()):
        raise _error(words.UPLOAD_FIRST)
    try:
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError:
        raise _error(words.EXPIRED) from None
    except ServiceError as error:
        raise _error(words.explain(error)) from None
    except gr.Error:
        raise
    except Exception:
        logger.exception("the page failed")
        raise _error(words.FAILED) from None


def _error(text: str) -> gr.Error:
    return gr.Error(text, visible=False, print_exception=False)
