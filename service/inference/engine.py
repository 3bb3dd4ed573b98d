"""Inference engine: computes the windows of all requests in turn and in batches, by one thread."""

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from service.audio import Waveform, normalise
from service.errors import NonFiniteScores, StartupError
from service.inference.backend import Backend, Embeddings, Logits, Outputs, Probabilities, Windows
from service.model.artefact import Artefact
from service.runtime.resources import lower_priority
from service.runtime.stages import spent
from service.schemas import ModelReference

_SPEED_SMOOTHING = 0.2
_STALE_AFTER_S = 60.0


@dataclass(frozen=True)
class WindowResult:
    """The answer to one window.

    probabilities: float32 (labels,). embedding, logits: float32 (dimensions,) and (labels,), None of a backend that
    answers none.
    """

    probabilities: Probabilities
    embedding: Embeddings | None
    logits: Logits | None


@dataclass(eq=False)
class _Job:
    window: Waveform
    answer: asyncio.Future[tuple[Outputs, float]]


class Engine:
    """A loaded, warm model that any number of requests share.

    Building it computes a window, so that the first request finds everything allocated, and `throughput` (seconds
    of audio computed per second) a first value. Blocks for that long. Raises StartupError when the model answers NaN,
    or embeddings that its familiarity.safetensors was not made with.
    max_batch: windows computed together; by default what the backend thinks best.
    max_wait_s: how long a batch that is not full waits for more windows, of this request or of others.
    note: why the backend is not the one that this machine promises.
    """

    def __init__(
        self,
        artefact: Artefact,
        backend: Backend,
        *,
        max_batch: int | None = None,
        max_wait_s: float = 0.0,
        note: str | None = None,
    ) -> None:
        self.artefact = artefact
        self.backend = backend
        self.note = note
        self._max_batch = max_batch or backend.max_batch
        self._max_wait_s = max_wait_s
        self._jobs: deque[_Job] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference", initializer=lower_priority)
        noise = np.random.default_rng(0).standard_normal((1, artefact.window.samples)).astype(np.float32)
        outputs, elapsed_s = self._thread.submit(self._time, noise).result()
        if not np.isfinite(outputs.probabilities).all():
            raise StartupError(f"{artefact.model_id} answers noise with NaN: its weights are damaged. Train it again.")
        self.answers_embeddings = outputs.embeddings is not None
        if artefact.familiarity is not None:
            artefact.familiarity.require_embedding(0 if outputs.embeddings is None else outputs.embeddings.shape[1])
        self.throughput = artefact.window.length_s / elapsed_s
        self._measured_at = time.monotonic()

    @property
    def is_stale(self) -> bool:
        """Whether the last window was computed so long ago that `throughput` may have changed."""
        return time.monotonic() - self._measured_at > _STALE_AFTER_S

    @property
    def reference(self) -> ModelReference:
        """The model, as every answer names it."""
        artefact = self.artefact
        return ModelReference(id=artefact.model_id, revision=artefact.revision, backend=self.backend.name)

    async def probabilities(self, windows: Windows) -> Probabilities:
        """float32 (n, labels) for windows (n, samples), n >= 1, not yet normalised.

        A call has at most one window in the queue, so that requests take turns and a long recording starves no other;
        one that is cancelled computes no further window.
        """
        return np.stack([(await self.infer(window)).probabilities for window in windows])

    async def infer(self, window: Waveform) -> WindowResult:
        """The answer to one window, float32 (samples,), not yet normalised. The oldest window is computed first."""
        started = time.perf_counter()
        job = _Job(window, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        outputs, inference_s = await job.answer
        answered = time.perf_counter()
        spent("queue", started, answered - inference_s)
        spent("inference", answered - inference_s, answered)
        return WindowResult(outputs.probabilities, outputs.embeddings, outputs.logits)

    def close(self) -> None:
        """Compute nothing more; what waits is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        """Compute batches until nothing waits."""
        loop = asyncio.get_running_loop()
        while self._jobs:
            if self._max_wait_s and len(self._jobs) < self._max_batch:
                await asyncio.sleep(self._max_wait_s)
            if not (jobs := self._take()):
                continue
            try:
                windows = np.stack([job.window for job in jobs])
                outputs, elapsed_s = await loop.run_in_executor(self._thread, self._time, windows)
            except Exception as error:
                for job in jobs:
                    if not job.answer.done():
                        job.answer.set_exception(error)
                continue
            self.throughput += _SPEED_SMOOTHING * (
                len(jobs) * self.artefact.window.length_s / elapsed_s - self.throughput
            )
            self._measured_at = time.monotonic()
            for index, job in enumerate(jobs):
                if job.answer.done():
                    continue
                if np.isfinite(outputs.probabilities[index]).all():
                    job.answer.set_result((outputs.of(index), elapsed_s))
                else:
                    job.answer.set_exception(NonFiniteScores())

    def _take(self) -> list[_Job]:
        """The next batch: the oldest windows, without those that were cancelled meanwhile."""
        jobs: list[_Job] = []
        while self._jobs and len(jobs) < self._max_batch:
            job = self._jobs.popleft()
            if not job.answer.cancelled():
                jobs.append(job)
        return jobs

    def _time(self, windows: Windows) -> tuple[Outputs, float]:
        started = time.perf_counter()
        if self.artefact.do_normalize:
            windows = np.stack([normalise(window) for window in windows])
        return self.backend.infer(windows), time.perf_counter() - started
