"""Runs blocking work in a daemon thread, which never holds up the exit of the process."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar, cast

T = TypeVar("T")


async def in_daemon_thread(name: str, work: Callable[[], T]) -> T:
    """The result of `work`, or its exception: RuntimeError in place of one that is no Exception.

    asyncio's own threads are joined at exit, whatever they wait for.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if outcome.done():
            return
        if error is None:
            outcome.set_result(cast(T, result))
        else:
            outcome.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as caught:
            error = caught
        except BaseException as caught:
            # Such as a panic of a library in Rust, which would leave whoever waits for it waiting for ever.
            error = RuntimeError(f"{type(caught).__name__}: {caught}")
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await outcome
