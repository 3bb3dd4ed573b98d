"""Opens one recording of a library, wherever it lies, as a file that a decoder can be handed; and hashes it."""

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import httpx2
import pyarrow.fs

from service.errors import DeadlineExceeded
from service.library.recordings import paths
from service.library.recordings.problems import TOO_LARGE, SourceError, of_os_error

_BLOCK_BYTES = 1 << 20
_STALL_S = 30.0


@dataclass(frozen=True)
class Opened:
    """An open recording. mtime_ns: None where a server does not tell it. sha256: hexadecimal, of the whole file."""

    file: BinaryIO
    size: int
    mtime_ns: int | None
    sha256: str


def open_recording(path: str, max_bytes: int, deadline_s: float) -> Opened:
    """A recording as a seekable file, which the caller closes; one from elsewhere as a copy without a name.

    Blocks. max_bytes: of a larger one nothing is read. deadline_s: after so long nothing more is read. Raises
    SourceError.
    """
    deadline = time.monotonic() + deadline_s
    try:
        if paths.is_local(path):
            return _open_here(paths.local(path), max_bytes, deadline)
        return _fetch(path, max_bytes, deadline)
    except SourceError:
        raise
    except httpx2.HTTPStatusError as error:
        raise _of_status(error.response.status_code) from error
    except OSError as error:
        raise of_os_error(error) from error
    except Exception as error:
        # Each kind of bucket has errors of its own.
        raise SourceError("unreadable", f"The file cannot be read: {type(error).__name__}.") from error


def hash_of(path: str, max_bytes: int, deadline_s: float) -> str | None:
    """The sha256 of a recording; None where it cannot be read. Blocks."""
    try:
        opened = open_recording(path, max_bytes, deadline_s)
    except SourceError:
        return None
    opened.file.close()
    return opened.sha256


def _open_here(path: str, max_bytes: int, deadline: float) -> Opened:
    # A named pipe would wait for its other end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SourceError("not-a-file", "This is no regular file.", status.st_size, status.st_mtime_ns)
        if status.st_size > max_bytes:
            raise _too_large(max_bytes, status.st_size, status.st_mtime_ns)
        # Of a folder it would fail without closing it.
        file = os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
    try:
        digest = hashlib.sha256()
        for block in _in_time(iter(partial(file.read, _BLOCK_BYTES), b""), deadline):
            digest.update(block)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Opened(file, status.st_size, status.st_mtime_ns, digest.hexdigest())


def _fetch(url: str, max_bytes: int, deadline: float) -> Opened:
    copy = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    try:
        digest = hashlib.sha256()
        with (_web if paths.scheme(url) in paths.WEB_SCHEMES else _remote)(url) as (blocks, size, mtime_ns):
            if size is not None and size > max_bytes:
                raise _too_large(max_bytes, size, mtime_ns)
            for block in _in_time(blocks, deadline):
                copy.write(block)
                digest.update(block)
                if copy.tell() > max_bytes:
                    raise _too_large(max_bytes, size, mtime_ns)
        copy.flush()
        size = copy.tell()
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return Opened(copy, size, mtime_ns, digest.hexdigest())


def _in_time(blocks: Iterator[bytes], deadline: float) -> Iterator[bytes]:
    """The blocks until the deadline: an address of web radio never ends. Raises SourceError."""
    for block in blocks:
        if time.monotonic() > deadline:
            raise SourceError(DeadlineExceeded.type, "The file could not be read in time.")
        yield block


Arriving = tuple[Iterator[bytes], int | None, int | None]
"""The blocks of a file, its size and its time of change in nanoseconds, as far as they are told."""


@contextmanager
def _web(url: str) -> Iterator[Arriving]:
    with httpx2.stream("GET", url, follow_redirects=True, timeout=_STALL_S) as response:
        response.raise_for_status()
        length = response.headers.get("content-length", "")
        # The length of a compressed body is not that of the file.
        size = int(length) if length.isdecimal() and "content-encoding" not in response.headers else None
        # As they arrive: a block of a slow server may take longer than a recording may.
        yield response.iter_bytes(), size, None


@contextmanager
def _remote(url: str) -> Iterator[Arriving]:
    system, path = paths.file_system(url)
    info = system.get_file_info(path)
    if info.type == pyarrow.fs.FileType.NotFound:
        raise FileNotFoundError
    with system.open_input_stream(path) as stream:
        yield iter(partial(stream.read, _BLOCK_BYTES), b""), info.size, info.mtime_ns


def _too_large(max_bytes: int, size: int | None, mtime_ns: int | None) -> SourceError:
    detail = f"The file is larger than {max_bytes / 1e6:g} MB. Raise --max_file_mb, or leave it out."
    return SourceError(TOO_LARGE, detail, size, mtime_ns)


def _of_status(status: int) -> SourceError:
    if status in (404, 410):
        return of_os_error(FileNotFoundError())
    if status in (401, 403):
        return of_os_error(PermissionError())
    return SourceError("unreadable", f"The server answered {status}.")
