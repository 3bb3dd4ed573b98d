"""The service's end of a decoder process: starts it, asks it, ends it. Its answers are checked, never trusted."""

import asyncio
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from service.audio import ReadPosition, Waveform, WindowSpec
from service.decoding.worker import LENGTH
from service.errors import AudioError, AudioTooShort, SilentAudio, UndecodableAudio, UnsupportedMedia

_ROOT = Path(__file__).parents[2]
# Variables that Python needs to find itself and its libraries: no token, no key, no address.
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
# Each thread and arena would reserve address space, of which there is little.
_VARIABLES = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}

_MAX_MESSAGE_BYTES = 1 << 16
_EXIT_S = 5
_AUDIO_ERRORS: dict[str, type[AudioError]] = {
    error.type: error for error in (UndecodableAudio, UnsupportedMedia, AudioTooShort, SilentAudio)
}


class DecoderLost(Exception):
    """The process gave no proper answer; the message says what became of it. It must be ended."""


class DecoderKilled(DecoderLost):
    """Killed by SIGKILL from outside, for example by the OOM killer."""


class DecoderBroken(DecoderLost):
    """The process never became ready."""


class DecoderProcess:
    """A process that has at most one file open. Used from the event loop only, by one request at a time.

    cpu_s, wall_s: seconds of a core, and of any clock, that opening a file or reading a window may take.
    start_s: seconds from its start until it must be ready.
    An await that is cancelled, and one that raises DecoderLost, leave a process that must be ended.
    """

    def __init__(self, *, cpu_s: int, wall_s: float, start_s: float) -> None:
        self.ready = False
        self._start_s = start_s
        self._started = 0.0
        self._limits = {"cpu_s": cpu_s, "wall_s": wall_s}
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while the process runs."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    @property
    def died(self) -> bool:
        """Whether the process ended by itself since it was started."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start the process without waiting until it is ready. Raises OSError."""
        if self._process is not None:
            return
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "service.decoding.worker"],
                    env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | _VARIABLES,
                    cwd=_ROOT,
                    stdin=theirs.fileno(),
                    # Libraries print about files, which are no log lines of ours.
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:
                ours.close()
                raise
        self._socket = ours
        self._started = time.monotonic()
        # Ends the process also when this object is forgotten, or the interpreter ends.
        self._finalizer = weakref.finalize(self, _terminate, self._process, ours)

    def stop(self) -> None:
        """End the process, whatever it does, without waiting for its end."""
        if self._finalizer is not None:
            # A thread, as the finalizer waits for the end.
            threading.Thread(target=self._finalizer, name="decoder-end", daemon=True).start()
        self._process = self._socket = self._finalizer = None
        self.ready = False

    def kill(self) -> None:
        """Kill the process while its answer is awaited, which then raises DecoderLost."""
        if self._process is not None:
            self._process.kill()

    async def wait_until_ready(self) -> None:
        """Start the process if needed. Raises DecoderBroken when it does not get ready, OSError if it cannot start."""
        self.start()
        if self.ready:
            return
        try:
            async with asyncio.timeout(self._started + self._start_s - time.monotonic()):
                await self._receive()
        except TimeoutError:
            raise DecoderBroken(f"did not start within {self._start_s:g} s") from None
        except DecoderKilled:
            raise
        except DecoderLost as lost:
            raise DecoderBroken(f"did not start: it {lost}") from None
        self.ready = True

    async def open(self, descriptor: int) -> ReadPosition:
        """Open a file. Raises what `service.audio.open_audio` raises."""
        progress, _ = await self._ask({"do": "open"}, descriptor=descriptor)
        return progress

    async def read(self, start_s: float, spec: WindowSpec, progress: ReadPosition) -> tuple[ReadPosition, Waveform]:
        """The samples of a window of the open file, none where there is nothing to hear, and how far the reading has
        come then; as `service.audio.WindowReader` reads it, with what that raises."""
        window = {"start_s": start_s, "spec": asdict(spec)}
        question = {"do": "read", **window, "progress": asdict(progress)}
        return await self._ask(question, max_samples=spec.samples)

    def close(self) -> None:
        """Close the file."""
        self._tell({"do": "close"})

    async def _ask(
        self, question: dict[str, Any], *, descriptor: int | None = None, max_samples: int = 0
    ) -> tuple[ReadPosition, Waveform]:
        self._tell(question | self._limits, descriptor)
        answer = await self._receive()
        try:
            if "failure" in answer:
                raise DecoderLost(f"failed: {str(answer['failure'])[:200]}")
            if "error" in answer:
                raise _AUDIO_ERRORS[answer["error"]](str(answer["detail"])[:300])
            progress = ReadPosition.from_json(answer["progress"])
            size = int(answer["samples"])
            if not 0 <= size <= max_samples or not math.isfinite(_total(progress)):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise DecoderLost("answered nonsense") from None
        samples = bytearray(np.dtype(np.float32).itemsize * size)
        await self._fill(memoryview(samples))
        return progress, np.frombuffer(samples, np.float32)

    def _tell(self, statement: dict[str, Any], descriptor: int | None = None) -> None:
        assert self._socket is not None, "started"
        message = json.dumps(statement).encode()
        descriptors = [] if descriptor is None else [descriptor]
        try:
            # The message is short and the process has nothing else to read: it is taken at once and as a whole.
            socket.send_fds(self._socket, [LENGTH.pack(len(message)) + message], descriptors)
        except (ConnectionError, BlockingIOError):
            # The loss is noticed when the answer is awaited, or by the next request.
            self.kill()

    async def _receive(self) -> dict[str, Any]:
        length = bytearray(LENGTH.size)
        await self._fill(memoryview(length))
        message = bytearray(min(LENGTH.unpack(length)[0], _MAX_MESSAGE_BYTES))
        await self._fill(memoryview(message))
        try:
            return dict(json.loads(message))
        except (TypeError, ValueError):
            raise DecoderLost("answered nonsense") from None

    async def _fill(self, view: memoryview) -> None:
        """Fill a buffer from the socket."""
        assert self._socket is not None, "started"
        loop = asyncio.get_running_loop()
        while view:
            try:
                size = await loop.sock_recv_into(self._socket, view)
            except ConnectionError:
                size = 0
            if not size:
                raise await self._explain_end()
            view = view[size:]

    async def _explain_end(self) -> DecoderLost:
        assert self._process is not None, "started"
        try:
            code = await asyncio.to_thread(self._process.wait, _EXIT_S)
        except subprocess.TimeoutExpired:
            return DecoderLost("fell silent")
        if code >= 0:
            return DecoderLost(f"ended with exit code {code}")
        return (DecoderKilled if code == -signal.SIGKILL else DecoderLost)(f"died of {signal.Signals(-code).name}")


def _total(progress: ReadPosition) -> float:
    """The sum of all numbers of an answer: finite if each of them is. Raises TypeError where one is no number."""
    return sum(asdict(progress.quality).values(), progress.duration_s + progress.analysed_s + progress.end_s)


def _terminate(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    process.kill()
    process.wait()
