"""Hands an upload over to a decoder process: as a file descriptor of its own, without a name."""

import asyncio
import errno
import io
import logging
import os
import shutil
import tempfile
from typing import BinaryIO

from service.errors import Overloaded, ServiceError, StorageFull

logger = logging.getLogger(__name__)

_RETRY_S = 2


async def duplicate(file: BinaryIO) -> BinaryIO:
    """A second descriptor of a file, or of a nameless copy when it is in memory, which is closed by itself.

    On cancellation this waits for the copy to end, as it reads a file that the caller closes. Raises StorageFull, and
    Overloaded when no file can be opened any more.
    """
    task = asyncio.create_task(asyncio.to_thread(_duplicate, file))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.exception():
            task.result().close()
        raise


def no_room(error: OSError) -> ServiceError:
    """The problem of an upload that the operating system does not take."""
    logger.error("An upload could not be stored: %s", error.strerror)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Overloaded("The service has too many files open. Try again later.", retry_after_s=_RETRY_S)
    return StorageFull()


def _duplicate(file: BinaryIO) -> BinaryIO:
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
        raise no_room(error) from error
