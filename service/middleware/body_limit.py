"""Bounds on a request's body, in plain ASGI: its bytes, the seconds that it may take to arrive, and its charset."""

import asyncio

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.errors import ClientGone, InvalidParameter, PayloadTooLarge, ServiceError, UploadTimeout


class BodyLimitMiddleware:
    """Refuses bodies over `max_bytes`, by Content-Length before a byte is read and while a chunked one arrives, and
    those that have not arrived after `timeout_s`; also forms in another charset than UTF-8, as Python has some that
    take quadratic time to decode. advice: what to do about a body that is too large.

    Whoever reads a refused body, or one whose client has hung up, gets a MultiPartException, as readers of forms, the
    page's among them, delete what they have stored when they meet it. What they answer then is dropped.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float, advice: str) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s
        self.advice = advice

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        if _charset(headers) not in {b"utf-8", b"utf8"}:
            return await problems.problem(InvalidParameter("Send the form in UTF-8."))(scope, receive, send)
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self.max_bytes:
            return await problems.problem(self._too_large())(scope, receive, send)
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        received = 0
        complete = answering = False
        refusal: ServiceError | None = None

        def refuse(error: ServiceError) -> MultiPartException:
            nonlocal refusal
            refusal = error
            return MultiPartException("The body was refused.")

        async def receive_bounded() -> Message:
            nonlocal received, complete
            if complete or answering:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                late = f"The upload took longer than {self.timeout_s:g} s. Send it over a faster line."
                raise refuse(UploadTimeout(late)) from None
            if message["type"] == "http.disconnect":
                raise refuse(ClientGone("The client hung up during its upload."))
            complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise refuse(self._too_large())
            return message

        async def send_unless_refused(message: Message) -> None:
            nonlocal answering
            if refusal is None:
                answering = True
                await send(message)

        try:
            await self.app(scope, receive_bounded, send_unless_refused)
        except Exception:
            if refusal is None:
                raise
        if refusal:
            await problems.problem(refusal)(scope, receive, send)

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"The request is larger than {self.max_bytes / 1e6:g} MB. {self.advice}")


def _charset(headers: Headers) -> bytes:
    """Of a form with files; what else has a charset is not decoded by it."""
    kind, options = parse_options_header(headers.get("content-type"))
    return options.get(b"charset", b"utf-8").lower() if kind.lower() == b"multipart/form-data" else b"utf-8"
