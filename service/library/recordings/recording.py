"""Classifies one recording into one row; an error becomes a row, too."""

import asyncio
import logging
import threading
import time
from dataclasses import dataclass

from service.classification.classifier import Classifier
from service.errors import DeadlineExceeded, InternalError, ServiceError, error_location
from service.library.recordings.problems import SourceError
from service.library.recordings.reading import Opened, open_recording
from service.library.schema import Row
from service.runtime.daemon_thread import in_daemon_thread
from service.schemas import Classification

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordingLimits:
    """What a recording may cost. max_bytes: of its file. deadline_s: seconds to read it, and again to classify it."""

    max_bytes: int
    deadline_s: float


async def classify_recording(
    classifier: Classifier, path: str, limits: RecordingLimits, *, embedding: bool = False
) -> Row:
    """The row of a recording. Raises nothing but cancellation: an error is in the row."""
    started = time.perf_counter()
    engine = classifier.engine
    row: Row = {
        "path": path,
        "model_id": engine.artefact.model_id,
        "model_revision": engine.artefact.revision,
        "backend": engine.backend.name,
    }
    try:
        opened = await _open(path, limits)
        with opened.file as file:
            row |= _as_found(opened.size, opened.mtime_ns) | {"sha256": opened.sha256}
            row |= _answered(await classifier.classify(file, embedding=embedding))
    except SourceError as error:
        row |= _as_found(error.size, error.mtime_ns) | {"error_type": error.type, "error_detail": error.detail}
    except ServiceError as error:
        row |= {"error_type": error.type, "error_detail": error.detail}
    except Exception as error:
        logger.exception("%s could not be classified.", path)
        row |= {"error_type": InternalError.type, "error_detail": f"The service failed: {error_location(error)}."}
    return row | {"seconds": time.perf_counter() - started}


def _as_found(size: int | None, mtime_ns: int | None) -> Row:
    # A table's nanoseconds end in the year 2262, those of a broken clock do not.
    fits = mtime_ns is not None and -(1 << 63) <= mtime_ns < 1 << 63
    return {"size": size, "mtime": mtime_ns if fits else None}


async def _open(path: str, limits: RecordingLimits) -> Opened:
    """Open in a thread of its own: a disk that hangs takes this recording with it, and nothing else."""
    is_late = threading.Event()

    def work() -> Opened:
        opened = open_recording(path, limits.max_bytes, limits.deadline_s)
        if is_late.is_set():
            opened.file.close()
        return opened

    try:
        async with asyncio.timeout(limits.deadline_s):
            return await in_daemon_thread("reading", work)
    except TimeoutError:
        raise DeadlineExceeded(f"The file could not be read within {limits.deadline_s:g} s.") from None
    finally:
        is_late.set()


def _answered(answer: Classification) -> Row:
    return {
        "duration_s": answer.duration_s,
        "analysed_s": answer.analysed_s,
        "genre": answer.genre,
        "confidence": answer.confidence,
        "decision": answer.decision,
        "genres": answer.genres,
        "scores": [score.model_dump() for score in answer.scores],
        "warnings": [warning.code for warning in answer.warnings],
        "embedding": answer.embedding,
    }
