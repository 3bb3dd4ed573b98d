"""Answers that are sent line by line while they are computed, as newline-delimited JSON."""

import logging
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request
from pydantic import BaseModel
from python_multipart.multipart import parse_options_header
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service import problems
from service.api.classifying import cancel_on_disconnect
from service.errors import ClientGone, InternalError, ServiceError
from service.schemas import ProblemLine

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/x-ndjson"

Lines = AsyncGenerator[BaseModel, None]


def accepts_lines(request: Request) -> bool:
    """Whether the client asks for lines. With a quality of 0 it says that it does not take them (RFC 9110, 12.4.2)."""
    ranges = [parse_options_header(one) for one in request.headers.get("accept", "").split(",")]
    return any(
        kind == MEDIA_TYPE.encode() and not re.fullmatch(rb"0(\.0*)?", options.get(b"q", b"1"))
        for kind, options in ranges
    )


async def answer_in_lines(request: Request, lines: Lines) -> Response:
    """An answer that begins once there is a first line. A client that hangs up closes `lines`.

    The request's body must have been read. Raises ClientGone, and what `lines` raises before the first line; an error
    behind it is a last line.
    """
    try:
        first = await cancel_on_disconnect(request, _next(lines))
    except BaseException:
        await lines.aclose()
        raise
    return _LinesResponse(first, lines)


class _LinesResponse(Response):
    media_type = MEDIA_TYPE

    def __init__(self, first: BaseModel, rest: Lines) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._rest):
                await cancel_on_disconnect(Request(scope, receive), self._send_lines(scope, send))
        except ClientGone as error:
            problems.mark_refused(scope, type(error))

    async def _send_lines(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await _send_line(send, self._first)
        try:
            async for line in self._rest:
                await _send_line(send, line)
        except ServiceError as error:
            await _send_problem(scope, send, error)
        except Exception:
            logger.exception("unforeseen error after the first line of an answer")
            await _send_problem(scope, send, InternalError())
        await send({"type": "http.response.body"})


async def _next(lines: Lines) -> BaseModel:
    return await anext(lines)


async def _send_line(send: Send, line: BaseModel) -> None:
    body = f"{line.model_dump_json(exclude_none=True)}\n".encode()
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _send_problem(scope: Scope, send: Send, error: ServiceError) -> None:
    problems.mark_refused(scope, type(error))
    await _send_line(send, ProblemLine(problem=problems.describe(error)))
