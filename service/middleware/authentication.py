"""Who is let in, in plain ASGI, before the body is read: what is not listed here needs a key."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.auth import login
from service.auth.keys import KeyRing
from service.errors import Unauthorized
from service.metrics import Metrics
from service.middleware.security_headers import DOCS_FILES

PUBLIC_PATHS = {"/livez", "/readyz", "/metrics", "/docs", "/openapi.json"} | {
    f"{DOCS_FILES}/{name}" for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
}
"""What anybody may ask for, and GET of `/`, which leads to the page."""

_HINT = "Send an API key of this service as `Authorization: Bearer <key>` or `X-API-Key: <key>`."


class AuthenticationMiddleware:
    """Asks for an API key, and for a login on the page; the page's own routes are no side door.

    page: the path of the page.
    """

    def __init__(self, app: ASGIApp, *, keys: KeyRing, metrics: Metrics, page: str) -> None:
        self.app = app
        self.keys = keys
        self.metrics = metrics
        self.page = page
        self.login = login.Login(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            # There are no WebSockets here.
            return await send({"type": "websocket.close", "code": 1008})
        request = Request(scope, receive)
        is_open = scope["path"] in PUBLIC_PATHS or scope["path"] == "/" and request.method in {"GET", "HEAD"}
        if is_open or self.keys.accepts_headers(request.headers):
            return await self.app(scope, receive, send)
        if f"{scope['path']}/".startswith(f"{self.page}/"):
            answer = await self._to_page(request)
        else:
            answer = problems.problem(Unauthorized(_HINT))
        if answer is None:
            return await self.app(scope, receive, send)
        if answer.status_code == Unauthorized.status:
            self.metrics.rejected.labels(Unauthorized.type).inc()
        await answer(scope, receive, send)

    async def _to_page(self, request: Request) -> Response | None:
        """What to answer instead of the page, to those who are not logged in; None lets them in."""
        what = (request.method, request.scope["path"].removeprefix(self.page))
        if what == ("POST", "/login"):
            return await self.login.log_in(request)
        if what == ("GET", "/logout"):
            return await self.login.log_out(request)
        if login.is_logged_in(request, self.keys):
            return None
        if what in {("GET", ""), ("GET", "/"), ("GET", "/login")}:
            return login.form(request)
        return problems.problem(Unauthorized(f"{_HINT} Browsers log in at {self.page}."))
