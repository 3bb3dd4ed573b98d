"""A request to an ASGI application whose answer is read piece by piece: httpx2's transport hands out whole answers."""

import asyncio
from types import TracebackType
from typing import Any

import httpx2
from starlette.types import ASGIApp, Message


class Exchange:
    """One request, which runs while the block does."""

    def __init__(
        self, app: ASGIApp, method: str, url: httpx2.URL, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> None:
        self._app = app
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": url.path,
            "raw_path": url.path.encode(),
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in headers],
            "server": ("service", 80),
            "client": ("127.0.0.1", 1),
        }
        self._request: list[Message] = [{"type": "http.request", "body": body}]
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._has_hung_up = asyncio.Event()
        self.status = 0

    async def __aenter__(self) -> "Exchange":
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error:
            self.hang_up()
        await asyncio.wait_for(self._running, 20)

    async def read(self) -> bytes:
        """The next piece of the answer; nothing when that is over."""
        return await asyncio.wait_for(self._pieces.get(), 20)

    def hang_up(self) -> None:
        """Leave, as a client does that closes its connection."""
        self._has_hung_up.set()

    async def _run(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if self._request:
            return self._request.pop()
        await self._has_hung_up.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self._pieces.put_nowait(message.get("body", b""))
