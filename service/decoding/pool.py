"""Pool of decoder processes: a file that crashes, hangs or explodes its decoder costs itself and one restart.

Not a pool of the standard library, which hands down its whole environment and unpickles what a process says: a process
that a file has taken over must neither find a token nor be believed.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

import numpy as np

from service.audio import ReadPosition, Waveform, Window, WindowSpec
from service.decoding.process import DecoderBroken, DecoderKilled, DecoderLost, DecoderProcess
from service.decoding.upload import duplicate, no_room
from service.errors import InternalError, UndecodableAudio
from service.metrics import Metrics
from service.runtime.stages import stage

logger = logging.getLogger(__name__)

# Maximum CPU time of a step. Two hours of mp3 take under 2 s to open and read.
_STEP_CPU_S = 15
# Time given to the step of a client that has left, as a new process costs half a second of a core.
_GRACE_S = 1.0
# Time given to a process to start, which takes half a second on a core of its own.
_START_S = 30.0
# Attempts at a step whose process is killed from outside, also while it starts.
_ATTEMPTS = 3


class DecoderPool:
    """A few decoder processes, each of which does one step of one request at a time: open a file, or read a window.

    Between its steps a request holds no process, so that a long recording starves no other: its file stays open until
    another request needs the process, and is opened again then. The semaphore bounds the steps at a time.
    count: processes. wall_s: seconds that a step may take; the kernel sees to it, should the service be gone. cpu_s:
    seconds of a core. start_s: seconds that a process may take to start. Used from the event loop only.
    """

    def __init__(
        self, count: int, metrics: Metrics, *, wall_s: float, cpu_s: int = _STEP_CPU_S, start_s: float = _START_S
    ) -> None:
        self._workers = [
            _Worker(DecoderProcess(cpu_s=cpu_s, wall_s=wall_s + 2 * _GRACE_S, start_s=start_s)) for _ in range(count)
        ]
        self._turns = asyncio.Semaphore(count)
        self._uses = itertools.count(1)
        self._restarts = metrics.decoder_restarts
        self._closed = False

    def start(self) -> None:
        """Start all processes, without waiting for them. Without it, each is started when it is needed."""
        for worker in self._workers:
            self._start(worker.decoder)

    def close(self) -> None:
        """End all processes, whatever they do."""
        self._closed = True
        for worker in self._workers:
            if worker.busy:
                worker.decoder.kill()
            else:
                worker.decoder.stop()

    @property
    def pids(self) -> list[int]:
        """Process ids of the processes that run."""
        return [pid for worker in self._workers if (pid := worker.decoder.pid)]

    @asynccontextmanager
    async def open(self, file: BinaryIO, spec: WindowSpec) -> AsyncIterator["DecodingSession"]:
        """A recording whose windows are read one by one.

        file: seekable; it may be closed when the block ends, whatever the processes do.
        Raises what `service.audio.open_audio` raises, StorageFull, and Overloaded when no file can be opened any more.
        """
        with await duplicate(file) as upload:
            session = DecodingSession(self, upload, spec)
            try:
                await session.open()
                yield session
            finally:
                upload.close()
                for worker in self._workers:
                    worker.tidy()

    async def step(self, session: "DecodingSession", start_s: float | None) -> tuple[ReadPosition, Waveform]:
        """Read the window from `start_s` on, or only open the file. No samples mean that there is nothing to hear."""
        with stage("decode_wait"):
            worker = await self._take_worker(session)
        # A task of its own, which goes on for a while when the request is cancelled.
        step = asyncio.create_task(self._step(worker, session, start_s))
        try:
            with stage("decode"):
                return await asyncio.shield(step)
        except asyncio.CancelledError:
            self._abandon(step)
            raise

    async def _take_worker(self, session: "DecodingSession") -> "_Worker":
        """Wait for a free worker, and take the one that costs this recording least."""
        await self._turns.acquire()
        free = (worker for worker in self._workers if not worker.busy)
        worker = min(free, key=lambda worker: (worker.cost(session), worker.last_used))
        worker.busy = True
        worker.last_used = next(self._uses)
        return worker

    def _abandon(self, step: "asyncio.Task[tuple[ReadPosition, Waveform]]") -> None:
        """Let a step whose client is gone go on for `_GRACE_S`: a new process costs half a second of a core."""
        asyncio.get_running_loop().call_later(_GRACE_S, step.cancel)
        step.add_done_callback(_retrieve_exception)

    async def _step(
        self, worker: "_Worker", session: "DecodingSession", start_s: float | None
    ) -> tuple[ReadPosition, Waveform]:
        try:
            if worker.decoder.ready and worker.decoder.died:
                self._replace(worker, "killed", "was killed while it was idle")
            for _ in range(_ATTEMPTS - 1):
                try:
                    return await worker.step(session, start_s)
                except DecoderKilled as lost:
                    # The file may not be the reason.
                    self._replace(worker, "killed", str(lost))
            return await worker.step(session, start_s)
        except asyncio.CancelledError:
            if worker.decoder.ready:
                self._replace(worker, "overran", "was ended, as its client is gone")
            raise
        except DecoderBroken as broken:
            self._replace(worker, "failed", str(broken), again=False)
            raise InternalError("The service cannot decode audio now. It was logged under the request id.") from None
        except DecoderLost as lost:
            self._replace(worker, "failed", str(lost))
            raise UndecodableAudio("The audio broke its decoder. Export it again.") from None
        except OSError as error:
            raise no_room(error) from error
        finally:
            worker.busy = False
            worker.tidy()
            self._turns.release()

    def _replace(self, worker: "_Worker", reason: str, what: str, *, again: bool = True) -> None:
        """End a process; another is started now, or by the next request."""
        worker.session = None
        worker.decoder.stop()
        if self._closed:
            return
        logger.log(logging.WARNING if again else logging.ERROR, "a decoder %s", what)
        self._restarts.labels(reason).inc()
        if again:
            self._start(worker.decoder)

    def _start(self, decoder: DecoderProcess) -> None:
        try:
            decoder.start()
        except OSError as error:
            logger.error("a decoder could not be started, the next request tries again: %s", error.strerror)


class DecodingSession:
    """A recording that is open for `DecoderPool.open`.

    upload: closed at the end of the session. progress: how far the recording has been read.
    """

    def __init__(self, decoders: DecoderPool, upload: BinaryIO, spec: WindowSpec) -> None:
        self.upload = upload
        self.spec = spec
        self.progress = ReadPosition(0.0)
        self._decoders = decoders

    async def open(self) -> None:
        """Open the recording, which tells its length."""
        await self._step(None)

    async def read(self, start_s: float) -> Window | None:
        """The window from `start_s` on, as `service.audio.WindowReader.read` reads it."""
        samples = await self._step(start_s)
        return Window(start_s, self.progress.end_s, samples) if len(samples) else None

    async def _step(self, start_s: float | None) -> Waveform:
        self.progress, samples = await self._decoders.step(self, start_s)
        return samples


class _Worker:
    """A decoder process, whether it works, and the recording that is open in it."""

    def __init__(self, decoder: DecoderProcess) -> None:
        self.decoder = decoder
        self.busy = False
        self.last_used = 0
        self.session: DecodingSession | None = None

    def cost(self, session: DecodingSession) -> int:
        """Sort key: prefer the worker that has this recording open, then one without any, then one that is started."""
        if self.session is session:
            return 0
        return (1 if self.session is None else 3) + (not self.decoder.ready)

    async def step(self, session: DecodingSession, start_s: float | None) -> tuple[ReadPosition, Waveform]:
        await self.decoder.wait_until_ready()
        if self.session is not session:
            if self.session is not None:
                self.decoder.close()
            self.session = session
            opened = await self.decoder.open(session.upload.fileno())
            if start_s is None:
                return opened, np.empty(0, np.float32)
        assert start_s is not None, "opened once"
        return await self.decoder.read(start_s, session.spec, session.progress)

    def tidy(self) -> None:
        """Close the file of a session that has ended."""
        if not self.busy and self.session is not None and self.session.upload.closed:
            self.session = None
            self.decoder.close()


def _retrieve_exception(step: "asyncio.Task[Any]") -> None:
    """Read the exception of an abandoned step, which asyncio would log as never retrieved."""
    if not step.cancelled():
        step.exception()
