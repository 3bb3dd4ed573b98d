"""Answers HEAD wherever GET is answered, OPTIONS with the methods of a path, and other methods with 405."""

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems

_READING = {"GET", "HEAD"}


class MethodsMiddleware:
    """Lets the application answer HEAD as GET, without the body, and puts an answer of its own in place of every 405:
    a problem, or 204 for OPTIONS, with the methods of the path in Allow."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        method = scope["method"]
        answer = _Answer(send, is_bodiless=method == "HEAD")
        # Changed in place, as the request log reads the matched route from this scope, and changed back for its line.
        scope["method"] = "GET" if method == "HEAD" else method
        try:
            await self.app(scope, receive, answer.send)
        finally:
            scope["method"] = method
        if answer.allowed is None:
            return None
        headers = {"Allow": ", ".join(sorted(answer.allowed))}
        if method == "OPTIONS":
            return await Response(status_code=204, headers=headers)(scope, receive, send)
        detail = f"This path takes {headers['Allow']}."
        return await problems.http_problem(405, "Method Not Allowed", detail, headers)(scope, receive, send)


class _Answer:
    """The application's answer to one request. A 405 is held back.

    allowed: the methods that the path has, when the answer is 405.
    """

    def __init__(self, send: Send, *, is_bodiless: bool) -> None:
        self.allowed: set[str] | None = None
        self._send = send
        self._is_bodiless = is_bodiless
        self._is_over = False

    async def send(self, message: Message) -> None:
        """Pass on a message, unless the answer is over or held back."""
        if message["type"] == "http.response.start" and message["status"] == 405:
            self.allowed = _allowed(Headers(raw=message["headers"]).get("allow", "GET"))
        if self.allowed is not None or self._is_over:
            return
        await self._send(message)
        if self._is_bodiless:
            # At once, so that an endless stream ends with its head.
            self._is_over = True
            await self._send({"type": "http.response.body"})


def _allowed(header: str) -> set[str]:
    methods = {method.strip() for method in header.split(",")} | {"OPTIONS"}
    return methods | _READING if methods & _READING else methods
