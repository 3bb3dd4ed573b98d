"""Errors of a library run: those of one recording, which fill its row, and those that end the run."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_OF_ERRNO = {
    errno.ENOENT: ("not-found", "The file is not there. It was moved or deleted, or this machine does not see it."),
    errno.ENOTDIR: ("not-found", "The file is not there. It was moved or deleted, or this machine does not see it."),
    errno.ESTALE: ("not-found", "The file is not there. It was moved or deleted, or this machine does not see it."),
    errno.EACCES: ("permission-denied", "The file may not be read. Allow it for the user that runs Ray."),
    errno.EPERM: ("permission-denied", "The file may not be read. Allow it for the user that runs Ray."),
    errno.ENOSPC: ("storage-full", "There is no room for a copy of the file. Free some space in TMPDIR."),
    errno.EISDIR: ("not-a-file", "This is no regular file."),
}

PASSING = frozenset(
    {
        "not-found",
        "permission-denied",
        "unreadable",
        "storage-full",
        "deadline-exceeded",
        "overloaded",
        "internal-error",
        "draining",
    }
)
"""Types of errors that lie around a recording, not in it: the same command tries these again."""


class SourceError(Exception):
    """A recording cannot be read. type: for `error_type` of its row. detail: what to do, for a person. size, mtime_ns:
    of what was refused, as far as they are known."""

    def __init__(self, type: str, detail: str, size: int | None = None, mtime_ns: int | None = None) -> None:
        super().__init__(detail)
        self.type = type
        self.detail = detail
        self.size = size
        self.mtime_ns = mtime_ns


TOO_LARGE = "payload-too-large"
"""The type of the error that another `--max_file_mb` mends."""


class LibraryError(Exception):
    """The run cannot start or go on. The message is one line: what is wrong and what to do about it."""


@contextmanager
def telling(what: str, remedy: str) -> Iterator[None]:
    """Make a LibraryError of what the operating system refuses within the block. what: cannot be done. remedy: what to
    change."""
    try:
        yield
    except OSError as error:
        raise LibraryError(f"{what}: {error.strerror or error}. {remedy}") from error


def of_os_error(error: OSError) -> SourceError:
    """The problem of a recording that the operating system, or a bucket, does not give."""
    unknown = ("unreadable", f"The file cannot be read: {error.strerror or type(error).__name__}.")
    if isinstance(error, FileNotFoundError):
        return SourceError(*_OF_ERRNO[errno.ENOENT])
    if isinstance(error, PermissionError):
        return SourceError(*_OF_ERRNO[errno.EACCES])
    return SourceError(*_OF_ERRNO.get(error.errno or 0, unknown))
