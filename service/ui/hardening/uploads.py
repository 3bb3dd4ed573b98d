"""Deletes uploads to the page after a while, and the oldest when there are many."""

import asyncio
import logging
import os
import tempfile
import time
from pathlib import Path

from service.runtime.periodic import run_periodically

logger = logging.getLogger(__name__)

KEPT_S = 1_800
"""Seconds that an upload is kept: its visitor may still play it."""

_INTERVAL_S = 5.0


def upload_dir() -> Path:
    """Gradio's upload directory, by Gradio's own rule, without importing Gradio, which takes seconds."""
    return Path(os.environ.get("GRADIO_TEMP_DIR") or Path(tempfile.gettempdir(), "gradio").resolve())


async def delete_expired_periodically(folder: Path, *, max_bytes: int, partial_s: float) -> None:
    """Call `delete_expired` now and every few seconds, until cancelled."""
    await run_periodically(
        lambda: asyncio.to_thread(delete_expired, folder, max_bytes=max_bytes, partial_s=partial_s), _INTERVAL_S
    )


def delete_expired(folder: Path, *, max_bytes: int, partial_s: float) -> None:
    """Delete files older than `KEPT_S`, what interrupted uploads have left, and the oldest until `max_bytes` are left.

    partial_s: seconds after which an upload on its way, a file that lies in no folder of its own, is a dead one.
    """
    files = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            files.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in files)
    now = time.time()
    for modified, size, path in sorted(files):
        # A time in the future is from before the clock was set back.
        age_s = now - modified if modified <= now else KEPT_S + 1
        if age_s > (partial_s if path.parent == folder else KEPT_S) or total > max_bytes:
            _delete(path, folder)
            total -= size


def _delete(path: Path, folder: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        if path.parent != folder:
            path.parent.rmdir()
    except OSError as error:
        # ENOTEMPTY among others: another file in the folder is kept.
        logger.debug("An upload or its folder stays: %s", error.strerror)
