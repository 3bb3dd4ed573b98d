"""Authentication: every path not in `PUBLIC_PATHS` needs an API key, checked before the body is read."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.auth import login
from service.auth.keys import KeyRing
from service.errors import Unauthorized
from service.middleware.paths import is_below
from service.middleware.security_headers import DOCS_FILES

PUBLIC_PATHS = {
    *("/livez", "/readyz", "/health", "/v2/health/live", "/v2/health/ready"),
    *("/metrics", "/docs", "/openapi.json"),
} | {f"{DOCS_FILES}/{name}" for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")}
"""Paths that need no key. `GET /`, which redirects to the page, needs none either."""

_LOG_IN = "Reload this page and log in. Programs send an API key as `Authorization: Bearer` or as `X-API-Key`."
_HINT = "Send an API key of this service as `Authorization: Bearer <key>` or `X-API-Key: <key>`."


class AuthenticationMiddleware:
    """Answers 401 without an API key; on the page a login stands for the key, for all of Gradio's routes as well.

    page: the path of the page. own_keys: the path below which routes check keys of their own, /admin. None where there
    is none.
    """

    def __init__(self, app: ASGIApp, *, keys: KeyRing, page: str | None, own_keys: str | None = None) -> None:
        self.app = app
        self.keys = keys
        self.page = page
        self.own_keys = own_keys
        self.login = login.Login(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            # The service has no WebSockets.
            return await send({"type": "websocket.close", "code": 1008})
        request = Request(scope, receive)
        is_index = scope["path"] == "/" and request.method in {"GET", "HEAD"}
        has_own_keys = self.own_keys is not None and is_below(scope["path"], self.own_keys)
        if is_index or has_own_keys or scope["path"] in PUBLIC_PATHS or self.keys.accepts_headers(request.headers):
            return await self.app(scope, receive, send)
        if self.page is not None and is_below(scope["path"], self.page):
            answer = await self._to_page(request, self.page)
        else:
            answer = problems.problem(Unauthorized(_HINT))
        if answer is None:
            return await self.app(scope, receive, send)
        if answer.status_code == Unauthorized.status:
            problems.mark_refused(scope, Unauthorized)
        return await answer(scope, receive, send)

    async def _to_page(self, request: Request, page: str) -> Response | None:
        """The answer to a browser that is not logged in; None when the request may pass to the page."""
        what = (request.method, request.scope["path"].removeprefix(page))
        if what == ("POST", "/login"):
            return await self.login.log_in(request)
        if what == ("GET", "/logout"):
            return await self.login.log_out(request)
        if login.is_logged_in(request, self.keys):
            return RedirectResponse("./", 303) if what == ("GET", "/login") else None
        if what in {("GET", ""), ("GET", "/"), ("GET", "/login")}:
            return login.form(request)
        # Gradio shows this on a page that is open still, and takes it for HTML.
        return problems.problem(Unauthorized(f"There is no login, or it has ended. {_LOG_IN}"))
