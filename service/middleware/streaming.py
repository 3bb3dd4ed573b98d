"""Asks proxies to pass on streams as they come."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STREAMS = ("text/event-stream", "application/x-ndjson")


class StreamingMiddleware:
    """Adds `X-Accel-Buffering: no` to streams: nginx keeps what a server sends until its buffers are full."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_unbuffered(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith(_STREAMS):
                    headers["X-Accel-Buffering"] = "no"
            await send(message)

        return await self.app(scope, receive, send_unbuffered)
