"""What is done in the background again and again, also after it has failed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from service.errors import error_location

logger = logging.getLogger(__name__)


async def run_periodically(work: Callable[[], Awaitable[None]], every_s: float) -> None:
    """Do it now and every few seconds; a failure is logged, without its message, which may name a file. Meant to be
    cancelled."""
    while True:
        try:
            await work()
        except Exception as error:
            logger.error("background work failed, and goes on", extra={"reason": error_location(error)})
        await asyncio.sleep(every_s)
