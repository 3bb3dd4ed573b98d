"""Errors of the training programs, each with what to change."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets.config
import huggingface_hub.constants

_ERRNOS = {errno.ENOSPC, errno.EDQUOT}


class TrainingError(Exception):
    """An error that the user can mend. The message is one line: what is wrong and what to do about it."""


@contextmanager
def disk_full_as_error(output_dir: Path) -> Iterator[None]:
    """Turn a full disk into a TrainingError that names the folder and says what to do."""
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        folder, remedy = _fullest(output_dir)
        raise TrainingError(
            f"The disk is full that {folder} lies on. Free some space there, or {remedy}; then run the same command "
            "again."
        ) from error


@contextmanager
def memory_full_as_error() -> Iterator[None]:
    """Turn a lack of memory, of a GPU or of the machine, into a TrainingError that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise TrainingError(
            "The memory is too small for this batch. Halve --per_device_train_batch_size and double "
            "--gradient_accumulation_steps, which gives the same training, or shorten --max_duration_s; then run the "
            "same command again."
        ) from error


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory is what an error is about. torch has a class for GPUs, and only words for CPUs."""
    words = ("DefaultCPUAllocator", "out of memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk is the cause of an error, however it was wrapped.

    By its words as well: what crosses from a worker process, or comes from Rust, has lost its errno.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _ERRNOS or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _fullest(output_dir: Path) -> tuple[Path, str]:
    """The folder with the least space: libraries do not tell where they wrote."""
    remedies = {
        Path(datasets.config.HF_DATASETS_CACHE): "set HF_DATASETS_CACHE, or HF_HOME, to a folder on another disk",
        Path(huggingface_hub.constants.HF_HUB_CACHE): "set HF_HOME to a folder on another disk",
        output_dir: "choose another --output_dir",
        Path(tempfile.gettempdir()): "set TMPDIR to a folder on another disk",
    }
    return min(remedies.items(), key=lambda item: _free_bytes(item[0]))


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
