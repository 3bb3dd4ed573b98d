"""The story of one request: admit, decode, infer, aggregate, record. The API and the page both call `classify`."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from asgi_correlation_id import correlation_id

from service.admission import Admission
from service.artefact import Artefact
from service.audio import Recording, read_recording
from service.engine import Engine
from service.errors import DeadlineExceeded, Draining, ModelLoading, ServiceError
from service.metrics import Metrics
from service.schemas import Classification, ModelReference, Score

_DECODERS = 2
_RETRY_LOADING_S = 5


class Classifier:
    """Classifies recordings once an engine is loaded; says why not before and after.

    max_windows: windows analysed of a recording at most. deadline_s: seconds that a request may take.
    """

    def __init__(self, admission: Admission, metrics: Metrics, *, max_windows: int, deadline_s: float) -> None:
        self.max_windows = max_windows
        self._admission = admission
        self._metrics = metrics
        self._deadline_s = deadline_s
        self._decoders = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode")
        self._engine: Engine | None = None
        self._draining = False
        metrics.queue_audio.set_function(lambda: admission.waiting_s)

    @property
    def engine(self) -> Engine:
        """The engine that answers. Raises ModelLoading or Draining when none does."""
        if self._draining:
            raise Draining("The service is shutting down. Send the request again; another instance will answer.")
        if self._engine is None:
            raise ModelLoading("The model is still loading. Try again shortly.", retry_after_s=_RETRY_LOADING_S)
        return self._engine

    def load(self, engine: Engine) -> None:
        self._metrics.model_loaded(engine.artefact, engine.backend.name)
        self._engine = engine

    def close(self) -> None:
        """Refuse what comes, drop what has not started."""
        self._draining = True
        self._decoders.shutdown(wait=False, cancel_futures=True)
        if self._engine is not None:
            self._engine.close()

    async def classify(
        self, file: BinaryIO, *, top_k: int | None = None, max_windows: int | None = None
    ) -> Classification:
        """The genre of an audio file.

        file: seekable, open until this returns. top_k: how many scores to answer, all by default.
        max_windows: fewer windows than the service's own bound.
        Raises a ServiceError for everything that can go wrong.
        """
        with self._count_failure():
            engine = self.engine
            max_windows = min(max_windows or self.max_windows, self.max_windows)
            longest_s = max_windows * engine.artefact.window_s
            with self._admission.reserve(longest_s, speed=engine.speed) as reservation:
                try:
                    async with asyncio.timeout(self._deadline_s):
                        recording = await self._decode(file, engine.artefact, max_windows)
                        reservation.audio_s = len(recording.windows) * engine.artefact.window_s
                        probabilities = await self._infer(engine, recording)
                except TimeoutError:
                    raise DeadlineExceeded(
                        f"No answer within {self._deadline_s:g} s. Try again later, or with a smaller max_windows."
                    ) from None
        answer = _answer(engine, recording, probabilities.mean(axis=0), top_k)
        self._record(answer)
        return answer

    async def _decode(self, file: BinaryIO, artefact: Artefact, max_windows: int) -> Recording:
        def decode() -> Recording:
            return read_recording(
                file,
                sampling_rate=artefact.sampling_rate,
                window_s=artefact.window_s,
                max_windows=max_windows,
            )

        with self._time_stage("decode"):
            return await asyncio.get_running_loop().run_in_executor(self._decoders, decode)

    async def _infer(self, engine: Engine, recording: Recording) -> npt.NDArray[np.float32]:
        with self._time_stage("inference"):
            return await engine.probabilities(recording.windows)

    @contextmanager
    def _time_stage(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._metrics.stage_duration.labels(stage).observe(time.perf_counter() - started)

    @contextmanager
    def _count_failure(self) -> Iterator[None]:
        try:
            yield
        except ServiceError as error:
            self._metrics.rejected.labels(error.type).inc()
            raise

    def _record(self, answer: Classification) -> None:
        self._metrics.audio_duration.observe(answer.duration_s)
        self._metrics.predictions.labels(answer.genre, answer.decision).inc()
        self._metrics.confidence.observe(answer.confidence)


def _answer(
    engine: Engine, recording: Recording, probabilities: npt.NDArray[np.float32], top_k: int | None
) -> Classification:
    artefact = engine.artefact
    ranked = sorted(
        zip(artefact.labels, map(float, probabilities), strict=True), key=lambda pair: pair[1], reverse=True
    )
    scores = [Score(label=label, score=min(score, 1.0)) for label, score in ranked]
    best = scores[0]
    return Classification(
        genre=best.label,
        confidence=best.score,
        decision="accepted" if best.score >= artefact.uncertain_below else "uncertain",
        scores=scores[:top_k],
        duration_s=round(recording.duration_s, 3),
        analysed_s=round(recording.analysed_s, 3),
        model=ModelReference(id=artefact.model_id, revision=artefact.revision, backend=engine.backend.name),
        request_id=correlation_id.get() or "",
    )
