"""Classifies several recordings of one request, of which a few at a time hold a place in the queue."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import BinaryIO

from service.classification.classifier import Classifier
from service.errors import InternalError, Overloaded, ServiceError
from service.schemas import Classification, ClassifyOptions

logger = logging.getLogger(__name__)

# One is decoded while another is computed; more would keep the requests of others waiting.
_AT_ONCE = 2
_POLL_S = 0.25

Result = Classification | ServiceError


async def classify_several(
    classifier: Classifier, files: Sequence[BinaryIO], options: ClassifyOptions
) -> AsyncGenerator[tuple[int, Result], None]:
    """The number of each file and its answer, or the reason why there is none, as they come.

    When there is room in the queue at first, files wait for it later on. Close the generator to cancel what is left.
    files: as `Classifier.classify` takes them. Raises Overloaded when there is no room at first.
    """
    classifier.require_room()
    waiting = enumerate(files)
    running: set[asyncio.Task[tuple[int, Result]]] = set()
    try:
        while True:
            while len(running) < _AT_ONCE and (following := next(waiting, None)):
                running.add(asyncio.create_task(_classify(classifier, *following, options)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        if running:
            # They read files that the caller closes.
            await asyncio.wait(running)


async def _room(classifier: Classifier, until: float) -> bool:
    """Wait for room in the queue; tell whether there was any by then. `classify` would hash the file each time."""
    clock = asyncio.get_running_loop().time
    while clock() < until:
        await asyncio.sleep(_POLL_S)
        try:
            classifier.require_room()
        except Overloaded:
            continue
        except ServiceError:
            # `classify` raises it again, where it becomes the result of this file alone.
            return True
        return True
    return False


async def _classify(classifier: Classifier, index: int, file: BinaryIO, options: ClassifyOptions) -> tuple[int, Result]:
    patience_until = asyncio.get_running_loop().time() + classifier.deadline_s
    while True:
        try:
            return index, await classifier.classify(file, **options.model_dump())
        except Overloaded as error:
            if not await _room(classifier, patience_until):
                return index, error
        except ServiceError as error:
            return index, error
        except Exception:
            logger.exception("unforeseen error in a batch")
            return index, InternalError()
