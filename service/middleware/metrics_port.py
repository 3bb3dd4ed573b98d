"""Which port answers what, in plain ASGI: /metrics can have a port that clients do not reach."""

from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems

_OPERATE = {"/metrics", "/livez", "/readyz"}


class MetricsPortMiddleware:
    """Nothing but metrics and health at `port`, and no metrics elsewhere."""

    def __init__(self, app: ASGIApp, *, port: int) -> None:
        self.app = app
        self.port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        path = scope["path"]
        # Not only the path itself: the router lets a line break after it pass.
        if path not in _OPERATE if scope["server"][1] == self.port else path.startswith("/metrics"):
            return await problems.http_problem(404, "Not Found", "Not Found")(scope, receive, send)
        await self.app(scope, receive, send)
