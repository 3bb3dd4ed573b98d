"""Adds the headers that protect browsers to every answer."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.middleware.paths import is_below

DOCS_FILES = "/docs/static"
"""Path of the scripts and styles of the documentation page."""

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
}
_NO_FRAMES = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
# Answers are data: a browser that shows one runs and loads nothing.
_DATA = f"default-src 'none'; {_NO_FRAMES}"
# Gradio writes scripts and styles into its HTML, compiles scripts (without 'unsafe-eval' the page stays empty), and
# plays recordings from blobs.
_PAGE = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
# FastAPI's documentation page starts Swagger with a script in its HTML.
_DOCS = (
    "default-src 'none'; connect-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    f"img-src 'self' data:; {_NO_FRAMES}"
)


class SecurityHeadersMiddleware:
    """Forbids sniffing, framing, referrers and, but for static files, caching; sets a content security policy.

    page: the path of the page.
    """

    def __init__(self, app: ASGIApp, *, page: str) -> None:
        self.app = app
        self.page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = scope["path"]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                is_static = path.startswith((f"{self.page}/assets/", f"{self.page}/static/", f"{DOCS_FILES}/"))
                add_security_headers(MutableHeaders(scope=message), self._policy(path), cached=is_static)
            await send(message)

        return await self.app(scope, receive, send_with_headers)

    def _policy(self, path: str) -> str:
        if is_below(path, self.page):
            return _PAGE
        return _DOCS if path == "/docs" else _DATA


def add_security_headers(headers: MutableHeaders, policy: str = _DATA, *, cached: bool = False) -> None:
    """Add the headers to those of an answer.

    policy: its Content-Security-Policy, by default that of data. cached: whether browsers may keep the answer.
    """
    headers.update(_ALWAYS | {"Content-Security-Policy": policy} | ({} if cached else {"Cache-Control": "no-store"}))
