"""Serves the application under the path prefix of a reverse proxy."""

from starlette.types import ASGIApp, Receive, Scope, Send


class RootPathMiddleware:
    """Puts back the prefix that a reverse proxy strips, as ASGI wants it: `root_path`, and `path` that begins with it.

    It is the innermost middleware, so that all others see the service's own paths.
    """

    def __init__(self, app: ASGIApp, *, root_path: str) -> None:
        self.app = app
        self.root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # Changed in place, as the request log reads the matched route from this scope.
            scope.update(root_path=self.root_path, path=self.root_path + scope["path"])
        await self.app(scope, receive, send)
