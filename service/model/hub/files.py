"""Checks the files of a snapshot in the Hugging Face Hub's cache against their hashes."""

import hashlib
import logging
import re
from pathlib import Path

logger = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")


class CorruptFileError(Exception):
    """A file of the cache has other bytes than its name says. The message names the file."""


def verify(folder: Path) -> None:
    """Compare each file with the hash that names it in the cache, as the client does not: sha256 for large files,
    git's blob hash for small ones. A wrong one is removed, so that the next try fetches it anew.

    Raises CorruptFileError.
    """
    for path in sorted(folder.rglob("*")):
        blob = path.resolve()
        if not path.is_symlink() or (blob.is_file() and _hash(blob) == blob.name):
            continue
        logger.warning("A downloaded file is corrupt and is fetched again.", extra={"file": path.name})
        # Another service may share the cache, and see the same.
        blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise CorruptFileError(f"{path.name} arrived corrupt")


def _hash(blob: Path) -> str:
    with blob.open("rb") as file:
        if _SHA256.fullmatch(blob.name):
            return hashlib.file_digest(file, "sha256").hexdigest()
        content = file.read()
        # git names its blobs by SHA-1; large files have SHA-256.
        return hashlib.sha1(  # noqa: S324
            b"blob %d\0" % len(content) + content
        ).hexdigest()
