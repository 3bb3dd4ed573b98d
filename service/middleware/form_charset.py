"""Refuses forms that are not in UTF-8."""

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.errors import InvalidParameter

_UTF_8 = {b"utf-8", b"utf8"}


class FormCharsetMiddleware:
    """Answers 422 to forms in another charset than UTF-8: Python has charsets that take quadratic time to decode."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _charset(Headers(scope=scope)) in _UTF_8:
            return await self.app(scope, receive, send)
        return await problems.problem(InvalidParameter("Send the form in UTF-8."))(scope, receive, send)


def _charset(headers: Headers) -> bytes:
    """The charset of a form with files. Other bodies that name one are not decoded by it."""
    kind, options = parse_options_header(headers.get("content-type"))
    return options.get(b"charset", b"utf-8").lower() if kind.lower() == b"multipart/form-data" else b"utf-8"
