"""The outermost layer of the stand-in: records requests, and lets faults strike."""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

if TYPE_CHECKING:
    from tests.support.hub_stand_in.stand_in import HubStandIn

_EVERY_BIT_FLIPPED = bytes(255 - value for value in range(256))


@dataclass(frozen=True)
class HubRequest:
    """One request as it was answered; `status` is None where the connection was closed without an answer."""

    method: str
    path: str
    query: str
    user: str | None
    status: int | None


@dataclass
class Fault:
    """What goes wrong, with which requests, and how many times more (None: until cleared)."""

    pattern: re.Pattern[str]
    times: int | None
    delay_s: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    corrupt: bool = False
    keep: int | None = None

    def takes(self, request: str) -> bool:
        """Whether the fault strikes this request; counts it if so."""
        if self.times == 0 or not self.pattern.search(request):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class _FrontDoor:
    """The outermost layer: records every request and lets the faults strike."""

    def __init__(self, hub: "HubStandIn", app: Starlette) -> None:
        self._hub = hub
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Revisions and paths come with "/" quoted ("refs%2Fpr%2F1"): route on the path as it was sent, and
        # unquote the parts afterwards.
        scope["path"] = scope["raw_path"].decode()
        path = unquote(scope["path"])
        fault = self._hub._fault_for(f"{scope['method']} {path}")
        # `HubStandIn.stop` cancels what is still under way, its connection already closed.
        with contextlib.suppress(asyncio.CancelledError):
            if fault is None:
                await self._app(scope, receive, self._recorder(scope, path, send))
            else:
                await self._strike(fault, scope, path, receive, send)

    async def _strike(self, fault: Fault, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        await asyncio.sleep(fault.delay_s)
        if fault.drop:
            self._record(scope, path, None)
            await self._cut(scope, receive)
            return
        send = self._recorder(scope, path, send)
        if fault.status is not None:
            answer = JSONResponse({"error": "Fault on demand"}, fault.status, headers=fault.headers)
            await answer(scope, receive, send)
        elif fault.keep is not None:
            await self._app(scope, receive, _first_bytes(send, fault.keep))
            await self._cut(scope, receive)
        else:
            await self._app(scope, receive, _flipped(send) if fault.corrupt else send)

    def _recorder(self, scope: Scope, path: str, send: Send) -> Send:
        """Record the request before its answer leaves, so that whoever has the answer finds the record."""

        async def recording(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._record(scope, path, message["status"])
            await send(message)

        return recording

    def _record(self, scope: Scope, path: str, status: int | None) -> None:
        token = self._hub.tokens.get(_bearer(Headers(scope=scope)) or "")
        query = scope["query_string"].decode()
        record = HubRequest(scope["method"], path, query, token.user if token else None, status)
        self._hub._requests.append(record)
        if scope.get("unknown"):
            self._hub._unknown_requests.append(record)

    async def _cut(self, scope: Scope, receive: Receive) -> None:
        """Close the connection under the request, and wait until the server has noticed."""
        self._hub._close_connection(scope["client"])
        while (await receive())["type"] != "http.disconnect":
            pass


def _first_bytes(send: Send, keep: int) -> Send:
    """Let the headers and the first bytes of the body through, and nothing after them."""

    async def cutting(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {"type": "http.response.body", "body": message["body"][:keep], "more_body": True}
        await send(message)

    return cutting


def _flipped(send: Send) -> Send:
    """Serve another body of the same length."""

    async def flipping(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": bytes(message["body"]).translate(_EVERY_BIT_FLIPPED)}
        await send(message)

    return flipping


def _bearer(headers: Headers) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value if scheme.lower() == "bearer" and value else None
