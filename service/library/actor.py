"""The actor of the pool: the service's own classifier, with its decoders and an engine that is loaded once."""

import asyncio
import math
import threading
from dataclasses import dataclass

import pyarrow as pa

from service.classification.admission import Admission
from service.classification.classifier import Bounds, Classifier
from service.classification.golden import check_golden_clips
from service.decoding.pool import DecoderPool
from service.inference.loading import load_engine
from service.library.recordings.problems import LibraryError
from service.library.recordings.recording import RecordingLimits, classify_recording
from service.library.schema import Row, to_table
from service.metrics import Metrics
from service.settings import Settings

# Two, so that one file that hangs does not stop an actor.
_MIN_DECODERS = 2
_MAX_DECODERS = 8
# One is computed, one is decoded, and one is read.
_MIN_AT_A_TIME = 3
_DECODING_S = 60.0


@dataclass(frozen=True)
class Job:
    """What an actor is told; plain values, which travel to other machines.

    model_id, model_revision: what to pull. revision: the commit, or the hash of a local folder, that the worker must
    then have. threads: for inference, as many as the actor has cores. max_windows: analysed of a recording. max_batch:
    0 for what is best on the device.
    """

    model_id: str
    model_revision: str
    revision: str
    backend: str
    threads: int
    max_batch: int
    max_windows: int
    embedding: bool
    limits: RecordingLimits

    def settings(self) -> Settings:
        """The settings by which the model is loaded; others of this machine's environment do not count."""
        return Settings(
            model_id=self.model_id,
            model_revision=self.model_revision,
            backend=self.backend,
            cpu_threads=self.threads,
            max_batch=self.max_batch,
        )


class LibraryActor:
    """Classifies batches of paths. Calls may overlap, so that the model has work also between two batches."""

    def __init__(self, job: Job) -> None:
        """Load the model and check its golden clips.

        Raises StartupError, and LibraryError where this machine has another one than was pinned.
        """
        self._job = job
        engine = load_engine(job.settings())
        if engine.artefact.revision != job.revision:
            raise LibraryError(
                f"A worker has {job.model_id} at {engine.artefact.revision}, the run began with {job.revision}. Give "
                "all machines the same model, best by an id on the Hub."
            )
        if job.embedding and not engine.answers_embeddings:
            raise LibraryError("This model answers no embedding. Run without --embedding.")
        self._at_a_time = max(_MIN_AT_A_TIME, 2 * (job.max_batch or engine.backend.max_batch))
        self._turns = asyncio.Semaphore(self._at_a_time)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="library", daemon=True).start()
        self._classifier = self._make_classifier()
        proving = asyncio.run_coroutine_threadsafe(check_golden_clips(engine, self._decoders), self._loop)
        proving.result()
        self._classifier.load(engine)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The rows of a batch of paths, in no order."""
        working = asyncio.run_coroutine_threadsafe(self._classify(batch.column("path").to_pylist()), self._loop)
        return to_table(working.result())

    @property
    def decoder_pids(self) -> list[int]:
        """Process ids of the decoders that run."""
        return self._decoders.pids

    def close(self) -> None:
        """End the decoders and the model's thread."""
        self._loop.call_soon_threadsafe(self._classifier.close)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _make_classifier(self) -> Classifier:
        job = self._job
        metrics = Metrics()
        self._decoders = decoders = DecoderPool(
            min(max(job.threads, _MIN_DECODERS), _MAX_DECODERS), metrics, wall_s=min(_DECODING_S, job.limits.deadline_s)
        )
        # Nothing waits in line but what this actor begins by itself.
        bounds = Bounds(job.max_windows, max_analysed_s=math.inf, deadline_s=job.limits.deadline_s)
        return Classifier(Admission(math.inf, math.inf), decoders, metrics, bounds)

    async def _classify(self, paths: list[str]) -> list[Row]:
        return list(await asyncio.gather(*map(self._one, paths)))

    async def _one(self, path: str) -> Row:
        async with self._turns:
            job = self._job
            return await classify_recording(self._classifier, path, job.limits, embedding=job.embedding)
