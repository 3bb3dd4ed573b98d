"""Graceful shutdown: after SIGTERM new work gets 503 while requests in flight finish."""

import asyncio
from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.errors import Draining


class Drain:
    """Counts the requests in flight.

    is_busy: whether work is in flight that is no request, such as a classification for the page.
    """

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self.begun = False
        self.active = 0
        self._is_busy = is_busy

    def begin(self) -> None:
        """Begin: the service is not ready any more, and refuses new work."""
        self.begun = True

    @property
    def done(self) -> bool:
        """Whether nothing is in flight any more."""
        return not self.active and not self._is_busy()


class DrainMiddleware:
    """Answers 503 to new work, which arrives as POST, once the drain has begun. The page still fetches its results.

    Every answer then asks for the connection to be closed, so that a balancer opens the next one elsewhere.
    """

    def __init__(self, app: ASGIApp, *, drain: Drain) -> None:
        self.app = app
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        is_work = scope["method"] == "POST"
        answering = False

        async def send_noting_start(message: Message) -> None:
            nonlocal answering
            answering = True
            if self.drain.begun and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        if self.drain.begun and (is_work or scope["path"] == "/readyz"):
            return await problems.problem(Draining())(scope, receive, send_noting_start)
        self.drain.active += is_work
        try:
            await self.app(scope, receive, send_noting_start)
        except asyncio.CancelledError:
            # uvicorn cancels what outlasts DRAIN_TIMEOUT_S; the client still gets an answer.
            if not self.drain.begun or answering:
                raise
            await problems.problem(Draining())(scope, receive, send_noting_start)
        finally:
            self.drain.active -= is_work
