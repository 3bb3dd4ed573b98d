"""Classifies one recording: admit, decode, infer, aggregate, record. The API and the page both call `classify`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from service.audio import Placement, ReadPosition, Window, WindowSpec, timeline_starts
from service.classification.admission import Admission, Reservation
from service.classification.aggregation import WindowScores, aggregate, newest_span
from service.classification.occlusion import SEGMENTS, Evidence, occlude
from service.classification.result_cache import ResultCache
from service.decoding.pool import DecoderPool
from service.errors import DeadlineExceeded, Draining, InvalidParameter, ModelLoading, ServiceError
from service.inference.engine import Engine
from service.metrics import Metrics
from service.model.familiarity import describe
from service.runtime import tracing
from service.runtime.stages import measured
from service.schemas import Classification, ClassifyOptions, Span

_RETRY_LOADING_S = 5


@dataclass(frozen=True)
class Bounds:
    """Bounds on the cost of one request.

    max_windows: windows analysed of a recording. max_analysed_s: seconds of a timeline. deadline_s: seconds that it may
    take.
    """

    max_windows: int
    max_analysed_s: float
    deadline_s: float


@dataclass(frozen=True)
class ClassificationProgress:
    """Progress of a request: `done` of `total` windows.

    window: the newest one; None where it is silent. answer: makes the answer of the windows so far, with a timeline;
    only to be called once a window was heard. span: makes what the timeline says of `window`, with the best scores of
    all or of so many labels; only to be called where it is not silent.
    """

    done: int
    total: int
    window: Window | None
    answer: Callable[[], Classification]
    span: Callable[[int | None], Span]


OnProgress = Callable[[ClassificationProgress], None]


class Classifier:
    """Classifies recordings once an engine is loaded; before and after, it raises the reason why not.

    results: answers given before; none are kept without it.
    """

    def __init__(
        self,
        admission: Admission,
        decoders: DecoderPool,
        metrics: Metrics,
        bounds: Bounds,
        results: ResultCache | None = None,
    ) -> None:
        self._admission = admission
        self._metrics = metrics
        self._bounds = bounds
        self._results = results
        self._decoders = decoders
        self._engine: Engine | None = None
        self._closed = False
        metrics.queue_audio.set_function(lambda: admission.queued_s)

    @property
    def engine(self) -> Engine:
        """The engine that answers. Raises ModelLoading or Draining when none does."""
        if self._closed:
            raise Draining()
        if self._engine is None:
            raise ModelLoading("The model is still loading. Try again shortly.", retry_after_s=_RETRY_LOADING_S)
        return self._engine

    @property
    def is_busy(self) -> bool:
        """Whether any request is admitted and not yet answered."""
        return self._admission.is_busy

    @property
    def deadline_s(self) -> float:
        """Seconds that a request may take."""
        return self._bounds.deadline_s

    def require_room(self) -> None:
        """Raises what `classify` raises when it refuses a recording of any length now: Overloaded or NotReady."""
        engine = self.engine
        with self._admission.reserve(engine.artefact.window.length_s, engine):
            pass

    def record_refusal(self, error: ServiceError) -> None:
        """Count an error that a person reads on the page: it becomes no HTTP response, where the others are counted."""
        self._metrics.rejected.labels(error.type).inc()

    def load(self, engine: Engine) -> None:
        """Answer with this engine from now on."""
        self._metrics.model_loaded(engine.artefact, engine.backend.name)
        self._metrics.speed.set_function(lambda: engine.throughput)
        self._engine = engine
        if self._results:
            self._results.clear()

    def close(self) -> None:
        """Refuse new requests, and drop windows that have not started."""
        self._closed = True
        self._decoders.close()
        if self._engine is not None:
            self._engine.close()

    async def classify(
        self,
        file: BinaryIO,
        *,
        top_k: int | None = None,
        max_windows: int | None = None,
        timeline: bool = False,
        embedding: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Classification:
        """The genre of an audio file; without `on_progress` one that was told before is told again from `results`.

        file: seekable, open until this returns. top_k: how many scores to answer, all by default.
        max_windows: fewer windows than the service's own bound. timeline: analyse the whole recording, end to end.
        embedding: answer the embedding, too. on_progress: called after each window.
        Raises a ServiceError for everything that can go wrong; InvalidParameter when the model answers no embedding.
        """
        if embedding and not self.engine.answers_embeddings:
            raise InvalidParameter("This model answers no embedding. Ask without it; /model says why.")
        options = ClassifyOptions(top_k=top_k, max_windows=max_windows, timeline=timeline, embedding=embedding)
        with tracing.span("classify"):
            if self._results is None or on_progress is not None:
                return await self._compute(file, options, on_progress)
            parameters = (options, self._bounds.max_windows, self._bounds.max_analysed_s)
            compute = partial(self._compute, file, options)
            return await self._results.answer(file, parameters, lambda: self.engine.reference, compute)

    async def _compute(
        self, file: BinaryIO, options: ClassifyOptions, on_progress: OnProgress | None = None
    ) -> Classification:
        with measured() as seconds:
            async with self._admitted() as (engine, reservation):
                windows = await self._listen(file, engine, reservation, options, on_progress)
            answer = aggregate(engine, windows, options.top_k, timeline=options.timeline, embedding=options.embedding)
            self._metrics.answered(answer, seconds)
            tracing.annotate("genre.audio.duration_s", windows.duration_s)
            tracing.annotate("genre.windows", len(windows.rows))
        return answer

    async def read_window(self, file: BinaryIO, start_s: float) -> Window:
        """The window of an audio file that starts at `start_s`, or the last one if the file ends before it could.

        Raises a ServiceError, as `classify` does; SilentAudio when that window is silent.
        """
        async with self._admitted() as (engine, _):
            return await self._read_window(file, engine, start_s)

    async def evidence(self, file: BinaryIO, genre: str, start_s: float) -> Evidence:
        """The seconds of a window that speak for `genre`, by `occlude`, at the cost of `SEGMENTS` + 1 windows.

        Raises what `read_window` raises; InvalidParameter for a genre that the model does not know.
        """
        async with self._admitted() as (engine, reservation):
            if genre not in engine.artefact.labels:
                raise InvalidParameter("The model does not know this genre. Choose one of its own.")
            window = await self._read_window(file, engine, start_s)
            reservation.resize((SEGMENTS + 1) * engine.artefact.window.length_s, engine)
            return await occlude(engine, window, genre)

    @asynccontextmanager
    async def _admitted(self) -> AsyncIterator[tuple[Engine, Reservation]]:
        """A place for one window in the queue, and the deadline, while the block runs."""
        engine = self.engine
        with self._admission.reserve(engine.artefact.window.length_s, engine) as reservation:
            try:
                async with asyncio.timeout(self._bounds.deadline_s):
                    yield engine, reservation
            except TimeoutError:
                raise DeadlineExceeded(
                    f"No answer within {self._bounds.deadline_s:g} s. Try again later, or with fewer windows."
                ) from None

    async def _listen(
        self,
        file: BinaryIO,
        engine: Engine,
        reservation: Reservation,
        options: ClassifyOptions,
        on_progress: OnProgress | None,
    ) -> WindowScores:
        """Decode and infer window by window, until the recording ends."""
        artefact = engine.artefact
        windows = WindowScores()
        async with self._decoders.open(file, artefact.window) as recording:
            placement = self._place(recording.progress, artefact.window, options)
            reservation.resize(placement.total * artefact.window.length_s, engine)
            while (start_s := placement.next(recording.progress)) is not None:
                if window := await recording.read(start_s):
                    await self._infer(windows, engine, window)
                windows.duration_s, windows.analysed_s = recording.progress.duration_s, recording.progress.analysed_s
                reservation.audio_s = placement.remaining * artefact.window.length_s
                if on_progress:
                    answer = partial(aggregate, engine, windows, None, timeline=True)
                    done = placement.total - placement.remaining
                    span = partial(newest_span, artefact, windows)
                    on_progress(ClassificationProgress(done, placement.total, window, answer, span))
        position = recording.progress
        position.require_sound()
        windows.warnings = position.quality.warnings(position.duration_s, artefact.window.length_s)
        return windows

    def _place(self, position: ReadPosition, window: WindowSpec, options: ClassifyOptions) -> Placement:
        bounds = self._bounds
        if options.timeline:
            return Placement(
                timeline_starts(position.duration_s, window.length_s, bounds.max_analysed_s), position, window
            )
        return Placement.evenly(position, window, min(options.max_windows or bounds.max_windows, bounds.max_windows))

    async def _read_window(self, file: BinaryIO, engine: Engine, start_s: float) -> Window:
        artefact = engine.artefact
        async with self._decoders.open(file, artefact.window) as recording:
            start_s = max(0.0, min(start_s, recording.progress.duration_s - artefact.window.length_s))
            window = await recording.read(start_s)
        recording.progress.require_sound()
        assert window is not None
        return window

    async def _infer(self, windows: WindowScores, engine: Engine, window: Window) -> None:
        result = await engine.infer(window.waveform)
        windows.add((window.start_s, window.end_s), result)
        if engine.artefact.familiarity is not None:
            rate = engine.artefact.window.sampling_rate
            windows.features.append(await asyncio.to_thread(describe, window.waveform, rate, result.embedding))
