"""Writes one log line and the HTTP metrics of every request, and answers unforeseen errors."""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.metrics import Metrics
from service.middleware.paths import is_below

logger = logging.getLogger(__name__)

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestLogMiddleware:
    """Logs and counts every request, and every refusal by its type.

    page: the path of the page, whose requests share one route label.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, page: str) -> None:
        self.app = app
        self.metrics = metrics
        self.page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        # Asked before the request is handled, as a mounted application changes the path.
        is_page = is_below(scope["path"], self.page)
        started = time.perf_counter()
        status = 0

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_noting_status)
        finally:
            route = self.page if is_page else getattr(scope.get("route"), "path", None) or "unmatched"
            self._record(scope, route, status, time.perf_counter() - started)

    def _record(self, scope: Scope, route: str, status: int, elapsed_s: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.http_requests.labels(method, route, str(status)).inc()
        self.metrics.http_request_duration.labels(route).observe(elapsed_s)
        if refusal := problems.refusal(scope):
            self.metrics.rejected.labels(refusal).inc()
        logger.info(
            "request",
            extra={
                "method": method,
                "route": route,
                "status": status,
                "duration_ms": round(elapsed_s * 1e3, 1),
            },
        )


class UnforeseenErrorMiddleware:
    """Makes an unforeseen exception a logged 500, unless the answer has begun.

    It stands apart from the request log, as that surrounds the CORS policy, which must see this answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        has_begun = False

        async def send_noting_begin(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self.app(scope, receive, send_noting_begin)
        except Exception:
            logger.exception("unforeseen error")
            if has_begun:
                raise
            await problems.internal_error()(scope, receive, send)
