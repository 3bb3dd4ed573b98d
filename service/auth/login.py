"""Login form for the page. Ours rather than Gradio's, so that unauthenticated requests never reach Gradio."""

import asyncio
from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from service import problems
from service.auth.keys import SESSION_S, KeyRing
from service.errors import Overloaded, Unauthorized

# gradio_client looks for a cookie whose name begins like this.
COOKIE = "access-token-music-genre"

_MAX_FORM_BYTES = 4_096
_FORM_S = 10.0
_FAILURE_S = 1.0
_MAX_FAILURES = 20
"""Failed logins that wait for their answer at the same time."""

_FORM = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Music genre: log in</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 22rem; margin: 15vh auto; padding: 0 1rem;
  color-scheme: light dark }}
label, input, button {{ display: block; width: 100%; box-sizing: border-box; font: inherit; margin-top: .5rem }}
input, button {{ padding: .5rem }}
</style></head>
<body><main><h1>Music genre</h1>
<form method="post" action="{action}">
<input type="hidden" name="username" value="key" autocomplete="username">
<label for="key">API key</label>
<input id="key" name="password" type="password" autocomplete="current-password" required autofocus>
<p role="alert">{message}</p>
<button>Log in</button>
</form></main></body></html>
"""


def is_logged_in(request: Request, keys: KeyRing) -> bool:
    """Whether the request brings the cookie of a session that is still valid."""
    return keys.accepts_session(request.cookies.get(COOKIE, ""))


def form(request: Request, message: str = "") -> Response:
    """The login form, answered with 401 in place of the page that was asked for."""
    # Relative, as a proxy may serve the page under a prefix that only the browser knows.
    path = request.url.path
    action = "login" if path.endswith(("/", "/login")) else f"{path.rpartition('/')[2]}/login"
    content = _FORM.format(action=escape(action), message=escape(message))
    return HTMLResponse(content, Unauthorized.status, {"WWW-Authenticate": "Bearer"})


class Login:
    """Logs browsers in and out by an API key; the form's user name is ignored. A wrong key costs the client a second.

    form_timeout_s: seconds that the form may take to arrive.
    """

    def __init__(self, keys: KeyRing, *, form_timeout_s: float = _FORM_S) -> None:
        self._keys = keys
        self._form_timeout_s = form_timeout_s
        self._failing = 0

    async def log_in(self, request: Request) -> Response:
        """Answer a posted form: with a session cookie, or with the refusal."""
        key = await self._password(request)
        if not self._keys.accepts(key):
            return await self._fail(request)
        # For people the page; for programs, which follow no redirect here, a plain success.
        response = RedirectResponse("./", 303) if _is_browser(request) else JSONResponse({"success": True})
        # Without a path the browser takes the folder that it posted to, also behind a proxy that adds a prefix.
        response.set_cookie(
            COOKIE,
            self._keys.session(key),
            max_age=SESSION_S,
            path=None,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return response

    async def log_out(self, request: Request) -> Response:
        """Delete the session cookie and lead back to the page, which asks for a login."""
        response = RedirectResponse("./", 303)
        response.set_cookie(COOKIE, max_age=0, path=None, httponly=True, samesite="lax")
        return response

    async def _fail(self, request: Request) -> Response:
        if self._failing >= _MAX_FAILURES:
            return problems.problem(Overloaded("Too many failed logins. Try again later.", retry_after_s=5))
        self._failing += 1
        try:
            await asyncio.sleep(_FAILURE_S)
        finally:
            self._failing -= 1
        if _is_browser(request):
            return form(request, "This is not a valid key.")
        return problems.problem(Unauthorized("This is not a valid key."))

    async def _password(self, request: Request) -> bytes:
        """The key of the form; empty when the form is too long or too slow."""
        body = b""
        try:
            async with asyncio.timeout(self._form_timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > _MAX_FORM_BYTES:
                        return b""
        except TimeoutError:
            return b""
        fields = parse_qs(body.decode("latin-1"), encoding="latin-1")
        return fields.get("password", [""])[0].encode("latin-1")


def _is_browser(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")
