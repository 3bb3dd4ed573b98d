"""Keeps the latest answers, so that the same recording and parameters again cost neither decoding nor inference."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import BinaryIO

from cachetools import LRUCache
from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from service.metrics import Metrics
from service.schemas import Classification, ModelReference

# So that one answer about hours of music does not displace all others.
_MAX_SHARE = 1 / 8
# About what the objects around the JSON of an answer take.
_ENTRY_BYTES = 512

# Whole chunks are hashed without the interpreter's lock.
_CHUNK_BYTES = 1 << 18

# The logits beside the answer: its JSON leaves them out.
_ENTRY = TypeAdapter(tuple[Classification, dict[str, float] | None])

_VERSION = version("music-genre-service")


@dataclass(frozen=True)
class _Question:
    """All that decides an answer besides the model. digest: SHA-256 of the file. parameters: as JSON."""

    digest: str
    parameters: str

    @classmethod
    async def about(cls, file: BinaryIO, parameters: Sequence[object]) -> "_Question":
        """The question about a file, which is read in a thread.

        On cancellation this waits for the thread, as it reads a file that the caller closes.
        """
        reading = asyncio.create_task(asyncio.to_thread(_digest, file))
        try:
            digest = await asyncio.shield(reading)
        except asyncio.CancelledError:
            await asyncio.wait([reading])
            raise
        return cls(digest, json.dumps(to_jsonable_python(parameters)))

    def etag(self, model: ModelReference) -> str:
        """A name for the answer of a model, of letters and digits."""
        parts = (_VERSION, self.digest, self.parameters, model.model_dump_json())
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class ResultCache:
    """Answers by what decided them, as JSON; the one not asked for the longest goes first. For the event loop only.

    max_bytes: bound on the memory that they take.
    """

    def __init__(self, max_bytes: int, metrics: Metrics) -> None:
        self._max_entry_bytes = max_bytes * _MAX_SHARE
        self._entries: LRUCache[str, bytes] = LRUCache(max_bytes, getsizeof=_size)
        self._metrics = metrics

    async def answer(
        self,
        file: BinaryIO,
        parameters: Sequence[object],
        model: Callable[[], ModelReference],
        compute: Callable[[], Awaitable[Classification]],
    ) -> Classification:
        """The answer that the model of now gave before, or else that of `compute`, with its `etag`.

        file: seekable, open until this returns. parameters: all that shapes the answer besides file and model.
        Raises what `model` and `compute` raise; errors are not kept.
        """
        model()
        question = await _Question.about(file, parameters)
        # Another model may have been swapped in since, and again before the answer.
        etag = question.etag(model())
        if found := self._entries.get(etag):
            self._metrics.result_cache.labels("hit").inc()
            answer, logits = _ENTRY.validate_json(found)
            return answer.model_copy(update={"logits": logits, "etag": etag})
        answer = await compute()
        self._metrics.result_cache.labels("miss").inc()
        etag = question.etag(answer.model)
        entry = _ENTRY.dump_json((answer, answer.logits))
        if _size(entry) <= self._max_entry_bytes:
            self._entries[etag] = entry
        return answer.model_copy(update={"etag": etag})

    def clear(self) -> None:
        """Forget all answers."""
        self._entries.clear()


def _size(entry: bytes) -> int:
    return len(entry) + _ENTRY_BYTES


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()
