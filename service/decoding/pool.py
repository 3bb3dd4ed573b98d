"""Decoding, away from the service: a file that crashes, hangs or explodes its decoder costs itself and one restart.

Not with one of the libraries' pools, which hand down their whole environment and unpickle what a process says: one that
a file has taken over must neither find a token nor be believed.
"""

import asyncio
import errno
import io
import logging
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

import numpy as np

from service.audio import ReadPosition, Waveform, Window, WindowSpec
from service.decoding.process import DecoderBroken, DecoderKilled, DecoderLost, DecoderProcess
from service.errors import InternalError, Overloaded, ServiceError, StorageFull, UndecodableAudio
from service.metrics import Metrics

logger = logging.getLogger(__name__)

# Two hours of mp3 take under 2 s to open and read.
_STEP_CPU_S = 15
# A step for somebody who has left is worth waiting for: a new process costs half a second of a core.
_GRACE_S = 1.0
_RETRY_S = 2
# Half a second on a core of its own.
_START_S = 30.0
# Of a step whose process is killed by somebody else, also while it starts.
_ATTEMPTS = 3


class DecoderPool:
    """A few decoder processes, each of which does one step of one request at a time: open a file, or read a window.

    Between its steps a request holds none, so that a long recording starves nobody: the file stays open until somebody
    else needs its process, and is opened again then.
    count: processes. wall_s: seconds that a step may take; the kernel sees to it, should the service be gone. cpu_s:
    seconds of a core. start_s: seconds that a process may take to start. Used from the event loop only.
    """

    def __init__(
        self, count: int, metrics: Metrics, *, wall_s: float, cpu_s: int = _STEP_CPU_S, start_s: float = _START_S
    ) -> None:
        # The longest idle first.
        self._workers = [
            _Worker(DecoderProcess(cpu_s=cpu_s, wall_s=wall_s + 2 * _GRACE_S, start_s=start_s)) for _ in range(count)
        ]
        self._turns = asyncio.Semaphore(count)
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
        """Of the processes that run."""
        return [pid for worker in self._workers if (pid := worker.decoder.pid)]

    @asynccontextmanager
    async def open(self, file: BinaryIO, spec: WindowSpec) -> AsyncIterator["DecodingSession"]:
        """A recording whose windows are read one by one.

        file: seekable; it may be closed when the block ends, whatever the processes do.
        Raises what `service.audio.open_audio` raises, StorageFull, and Overloaded when no file can be opened any more.
        """
        with await _finish(asyncio.to_thread(_upload, file)) as upload:
            recording = DecodingSession(self, upload, spec)
            try:
                await recording.open()
                yield recording
            finally:
                upload.close()
                for worker in self._workers:
                    worker.tidy()

    async def step(self, recording: "DecodingSession", start_s: float | None) -> tuple[ReadPosition, Waveform]:
        """Read the window from `start_s` on, or only open the file. No samples: there is nothing to hear."""
        await self._turns.acquire()
        worker = min((worker for worker in self._workers if not worker.busy), key=lambda worker: worker.cost(recording))
        worker.busy = True
        self._workers.remove(worker)
        self._workers.append(worker)
        # A task of its own, which goes on for a while when the request is cancelled.
        step = asyncio.create_task(self._step(worker, recording, start_s))
        try:
            return await asyncio.shield(step)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(_GRACE_S, step.cancel)
            step.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise

    async def _step(
        self, worker: "_Worker", recording: "DecodingSession", start_s: float | None
    ) -> tuple[ReadPosition, Waveform]:
        try:
            if worker.decoder.ready and worker.decoder.died:
                self._replace(worker, "killed", "was killed while it was idle")
            for _ in range(_ATTEMPTS - 1):
                try:
                    return await worker.step(recording, start_s)
                except DecoderKilled as lost:
                    # Perhaps not for what the file did.
                    self._replace(worker, "killed", str(lost))
            return await worker.step(recording, start_s)
        except asyncio.CancelledError:
            if worker.decoder.ready:
                self._replace(worker, "overran", "was ended, as nobody waits for its answer any more")
            raise
        except DecoderBroken as broken:
            self._replace(worker, "failed", str(broken), again=False)
            raise InternalError("The service cannot decode audio now. It was logged under the request id.") from None
        except DecoderLost as lost:
            self._replace(worker, "failed", str(lost))
            raise UndecodableAudio("The audio broke its decoder. Export it again.") from None
        except OSError as error:
            raise _no_room(error) from error
        finally:
            worker.busy = False
            worker.tidy()
            self._turns.release()

    def _replace(self, worker: "_Worker", reason: str, what: str, *, again: bool = True) -> None:
        """End a process; another is started now, or by the next request."""
        worker.recording = None
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

    upload: closed when nobody wants the recording any more. progress: how far it has been read.
    decode_s: seconds spent on it, the wait for a process included.
    """

    def __init__(self, decoders: DecoderPool, upload: BinaryIO, spec: WindowSpec) -> None:
        self.upload = upload
        self.spec = spec
        self.progress = ReadPosition(0.0)
        self.decode_s = 0.0
        self._decoders = decoders

    async def open(self) -> None:
        await self._step(None)

    async def read(self, start_s: float) -> Window | None:
        """As `service.audio.WindowReader.read`."""
        samples = await self._step(start_s)
        return Window(start_s, self.progress.end_s, samples) if len(samples) else None

    async def _step(self, start_s: float | None) -> Waveform:
        started = time.perf_counter()
        self.progress, samples = await self._decoders.step(self, start_s)
        self.decode_s += time.perf_counter() - started
        return samples


class _Worker:
    """A decoder, whether it works, and the recording that is open in it."""

    def __init__(self, decoder: DecoderProcess) -> None:
        self.decoder = decoder
        self.busy = False
        self.recording: DecodingSession | None = None

    def cost(self, recording: DecodingSession) -> tuple[bool, bool, bool]:
        """Least where the recording is open, then where none is; then what need not start first."""
        return self.recording is not recording, self.recording is not None, not self.decoder.ready

    async def step(self, recording: DecodingSession, start_s: float | None) -> tuple[ReadPosition, Waveform]:
        await self.decoder.wait_until_ready()
        if self.recording is not recording:
            if self.recording is not None:
                self.decoder.close()
            self.recording = recording
            opened = await self.decoder.open(recording.upload.fileno())
            if start_s is None:
                return opened, np.empty(0, np.float32)
        assert start_s is not None, "opened once"
        return await self.decoder.read(start_s, recording.spec, recording.progress)

    def tidy(self) -> None:
        """Close the file that nobody wants any more."""
        if not self.busy and self.recording is not None and self.recording.upload.closed:
            self.recording = None
            self.decoder.close()


async def _finish(work: Coroutine[Any, Any, BinaryIO]) -> BinaryIO:
    """Its result. Cancelled, this waits for the work, which reads a file that is closed afterwards."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.exception():
            task.result().close()
        raise


def _upload(file: BinaryIO) -> BinaryIO:
    """A second descriptor of a file, or of a nameless copy when it is in memory: its name and its end are its own."""
    try:
        try:
            # A spooled file in memory moves to the disk here.
            descriptor = file.fileno()
        except io.UnsupportedOperation:
            with tempfile.TemporaryFile() as copy:
                file.seek(0)
                shutil.copyfileobj(file, copy)
                copy.flush()
                return os.fdopen(os.dup(copy.fileno()), "rb")
        file.flush()
        return os.fdopen(os.dup(descriptor), "rb")
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> ServiceError:
    logger.error("An upload could not be passed on: %s", error.strerror)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Overloaded("The service has too many files open. Try again later.", retry_after_s=_RETRY_S)
    return StorageFull()
