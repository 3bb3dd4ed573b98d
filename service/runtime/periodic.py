"""Runs a coroutine periodically; a failure is logged and the next run takes place."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from service.errors import error_location

logger = logging.getLogger(__name__)


async def run_periodically(work: Callable[[], Awaitable[None]], every_s: float) -> None:
    """Run `work` now and every `every_s` seconds, until cancelled. A failure is logged by its place in the code, as its
    message may name a file."""
    while True:
        try:
            await work()
        except Exception as error:
            logger.error("background work failed, and goes on", extra={"reason": error_location(error)})
        await asyncio.sleep(every_s)
