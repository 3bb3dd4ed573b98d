"""Private folder for all temporary files; deleted at exit, or at the next start if the service was killed."""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A name that no user gives to a folder, as folders of this name are deleted.
_PREFIX = ".music-genre-scratch-"
_MODE = 0o700


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder that only this user can read. Folders of services that no longer run are removed first."""
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):
        _sweep(left)
    folder, lock = _make(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make(parent: Path) -> tuple[Path, int]:
    """A folder and the lock on it, which ends with the process."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Another service that starts now may have taken the folder for an abandoned one.
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _sweep(folder: Path) -> None:
    """Delete the folder unless another user owns it, its mode is not 0700, or a running service has it locked."""
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        try:
            status = os.fstat(lock)
            if status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) == _MODE:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
        finally:
            os.close(lock)
