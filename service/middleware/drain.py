"""The way out: after SIGTERM nothing new is let in, and the process stays until everything under way is answered."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.errors import Draining

_DETAIL = "The service is shutting down. Send the request again; another instance will answer."


class Drain:
    """Counts the requests under way.

    is_busy: whether something is under way that is no request, such as a classification for the page.
    """

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self.begun = False
        self.active = 0
        self._is_busy = is_busy

    def begin(self) -> None:
        """From now on the service is not ready, and refuses work."""
        self.begun = True

    @property
    def done(self) -> bool:
        return not self.active and not self._is_busy()


class DrainMiddleware:
    """Refuses work once the drain has begun. Every work is a POST; the page still fetches its results."""

    def __init__(self, app: ASGIApp, *, drain: Drain) -> None:
        self.app = app
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        is_work = scope["method"] == "POST"
        if self.drain.begun and (is_work or scope["path"] == "/readyz"):
            return await problems.problem(Draining(_DETAIL))(scope, receive, send)
        answering = False

        async def send_noting_start(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        self.drain.active += is_work
        try:
            await self.app(scope, receive, send_noting_start)
        except asyncio.CancelledError:
            # The server's patience has ended; the client is told at least.
            if not self.drain.begun or answering:
                raise
            await problems.problem(Draining(_DETAIL))(scope, receive, send)
        finally:
            self.drain.active -= is_work
