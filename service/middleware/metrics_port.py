"""Serves /metrics on `METRICS_PORT` only."""

from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.middleware.paths import OPERATIONAL_PATHS


class MetricsPortMiddleware:
    """Answers nothing but metrics and health at `port`, and no metrics at any other."""

    def __init__(self, app: ASGIApp, *, port: int) -> None:
        self.app = app
        self.port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._serves(scope):
            return await self.app(scope, receive, send)
        return await problems.http_problem(404, "Not Found", "Not Found")(scope, receive, send)

    def _serves(self, scope: Scope) -> bool:
        is_metrics_port = scope["server"][1] == self.port
        if is_metrics_port:
            return scope["path"] in OPERATIONAL_PATHS
        # Not only the path itself: starlette's router lets a line break after it pass.
        return not scope["path"].startswith("/metrics")
