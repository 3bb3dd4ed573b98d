"""Bounds the body of a request: its bytes, and the seconds that it may take to arrive."""

import asyncio

from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.errors import ClientGone, PayloadTooLarge, ServiceError, UploadTimeout


class BodyLimitMiddleware:
    """Answers 413 to bodies over `max_bytes`, by Content-Length before a byte is read and while a chunked one arrives,
    and 408 to those that have not arrived after `timeout_s` seconds.

    advice: what to do about a body that is too large.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float, advice: str) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s
        self._too_large = f"The request is larger than {max_bytes / 1e6:g} MB. {advice}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > self.max_bytes:
            return await problems.problem(PayloadTooLarge(self._too_large))(scope, receive, send)
        body = _BoundedBody(receive, send, self.max_bytes, self.timeout_s, self._too_large)
        try:
            await self.app(scope, body.receive, body.send)
        except Exception:
            if body.refusal is None:
                raise
        if body.refusal:
            await problems.problem(body.refusal)(scope, receive, send)
        return None


class _BoundedBody:
    """The body of one request as the application receives it, until the application answers.

    After a refusal `receive` raises MultiPartException: starlette's and Gradio's form parsers delete their temporary
    files on it. What the application then sends is dropped, and the refusal is sent in its place.
    """

    def __init__(self, receive: Receive, send: Send, max_bytes: int, timeout_s: float, too_large: str) -> None:
        self.refusal: ServiceError | None = None
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._too_large = too_large
        self._deadline = asyncio.get_running_loop().time() + timeout_s
        self._received = 0
        self._complete = False
        self._answering = False

    async def receive(self) -> Message:
        """The next message of the client. The bounds apply until the body is complete or the application answers."""
        if self._complete or self._answering:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            late = f"The upload took longer than {self._timeout_s:g} s. Send it over a faster line."
            raise self._refuse(UploadTimeout(late)) from None
        if message["type"] == "http.disconnect":
            raise self._refuse(ClientGone("The client hung up during its upload."))
        self._complete = not message.get("more_body", False)
        self._received += len(message.get("body", b""))
        if self._received > self._max_bytes:
            raise self._refuse(PayloadTooLarge(self._too_large))
        return message

    async def send(self, message: Message) -> None:
        """Pass on what the application answers, unless the body was refused."""
        if self.refusal is None:
            self._answering = True
            await self._send(message)

    def _refuse(self, error: ServiceError) -> MultiPartException:
        self.refusal = error
        return MultiPartException("The body was refused.")
