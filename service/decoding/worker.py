"""Decoder process, `python -m service.decoding.worker`: decodes what strangers send, and holds no secrets.

The service (`process.py`) starts it with an empty environment and a socket as its standard input. Questions and
answers are JSON behind its length; with the question that opens a file comes its descriptor, behind an answer with a
window come its samples. Nothing is ever unpickled.
"""

import io
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np
import soundfile

from service.audio import (
    AudioError,
    AudioFile,
    Quality,
    ReadPosition,
    Waveform,
    WindowReader,
    WindowSpec,
    open_audio,
    read_recording,
)
from service.errors import error_location

LENGTH = struct.Struct("!I")
"""The length of a message, in front of it."""

# Bytes of address space, the libraries included, which take 200 MB. A window of 30 s at 768 kHz needs 300 MB more.
_MEMORY_BYTES = 768 << 20

# The socket, standard output and error, and the upload: while it is open, no other file or connection can be opened.
_DESCRIPTORS = 4

# Niceness of decoders: behind the event loop, which answers health checks, but before inference, which waits for
# windows.
_NICENESS = 5

_WARM_UP_RATE = 44_100
_NOTHING = np.empty(0, np.float32)


class WorkerDecoder:
    """The worker's side: the one file that is open."""

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        self._audio: AudioFile | None = None

    def open(self, descriptor: int) -> ReadPosition:
        """Open a file. Raises what `open_audio` raises."""
        self._file = os.fdopen(descriptor, "rb")
        self._audio = open_audio(self._file)
        return ReadPosition(self._audio.duration_s, quality=Quality(damaged=self._audio.damaged))

    def read(self, start_s: float, *, spec: dict[str, Any], progress: dict[str, Any]) -> tuple[ReadPosition, Waveform]:
        """The samples of the next window, none where there is nothing to hear, and how far the reading has come."""
        assert self._audio is not None, "a file is opened first"
        reader = WindowReader(self._audio, WindowSpec(**spec), ReadPosition.from_json(progress))
        window = reader.read(start_s)
        return reader.progress, _NOTHING if window is None else window.waveform

    def close(self) -> None:
        """Close the open file, if any."""
        if self._audio is not None:
            self._audio.close()
        if self._file is not None:
            self._file.close()
        self._audio = self._file = None


def main() -> None:
    """Answer questions until the service closes the socket."""
    # Signals that stop the service are often sent to all its processes, and requests in flight are still answered.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    connection = socket.socket(fileno=sys.stdin.fileno())
    _warm_up()
    _limit_for_good()
    _send(connection, {"ready": True})
    decoder = WorkerDecoder()
    while (received := _receive(connection)) is not None:
        question, descriptors = received
        if question["do"] == "close":
            decoder.close()
            continue
        try:
            with _limited(question.pop("cpu_s"), question.pop("wall_s")):
                progress, samples = _answer(decoder, question, descriptors)
        except AudioError as error:
            _send(connection, {"error": error.type, "detail": error.detail})
        except Exception as error:
            # Out of memory, or a bug: the state of the libraries is unknown, so this process ends.
            _send(connection, {"failure": error_location(error)})
            return
        else:
            _send(connection, {"progress": asdict(progress), "samples": len(samples)}, samples)


def _answer(decoder: WorkerDecoder, question: dict[str, Any], descriptors: list[int]) -> tuple[ReadPosition, Waveform]:
    if question.pop("do") == "open":
        (descriptor,) = descriptors
        return decoder.open(descriptor), _NOTHING
    return decoder.read(**question)


def _warm_up() -> None:
    """Read a file by each library: what they import at first use must be loaded before no file can be opened."""
    noise = np.random.default_rng(0).standard_normal((_WARM_UP_RATE, 2)) / 8
    for format in ("WAV", "FLAC"):
        file = io.BytesIO()
        soundfile.write(file, noise, _WARM_UP_RATE, format=format)
        read_recording(file, WindowSpec(_WARM_UP_RATE // 2, 1.0), max_windows=1)


def _limit_for_good() -> None:
    """Limit this process for good: no file written, none opened but the upload, no core dump, bounded memory."""
    most = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: _DESCRIPTORS}
    if sys.platform == "linux":
        most[resource.RLIMIT_AS] = _MEMORY_BYTES
    for what, limit in most.items():
        resource.setrlimit(what, (limit, limit))


@contextmanager
def _limited(cpu_s: int, wall_s: float) -> Iterator[None]:
    """Have the kernel end this process when a step takes longer, also when the service has died."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + cpu_s, hard))
    signal.setitimer(signal.ITIMER_REAL, wall_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _send(connection: socket.socket, answer: dict[str, Any], samples: Waveform = _NOTHING) -> None:
    message = json.dumps(answer).encode()
    connection.sendall(LENGTH.pack(len(message)) + message)
    connection.sendall(samples.data)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next question, and the descriptor if one came with it; None when the service is gone."""
    length, descriptors, _, _ = socket.recv_fds(connection, LENGTH.size, 1)
    if not length:
        return None
    (size,) = LENGTH.unpack(length)
    message = connection.recv(size, socket.MSG_WAITALL)
    return json.loads(message), list(descriptors)


if __name__ == "__main__":
    # The service was killed, and reads no answer.
    with suppress(ConnectionError):
        main()
