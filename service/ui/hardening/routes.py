"""Closes the routes of Gradio that the page does not need: some fetch URLs, read files or answer without a login, and a
new version may bring others."""

import errno
import logging

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.errors import StorageFull, error_location
from service.middleware.body_limit import BodyLimitMiddleware
from service.middleware.paths import is_below

logger = logging.getLogger(__name__)

_API = "/gradio_api"
_FILE = f"{_API}/file="
_UPLOAD = f"{_API}/upload"
_PAGE_ROUTES = ("", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt")
_API_ROUTES = (
    *("/app_id", "/info", "/upload", "/upload_progress", "/queue/join", "/queue/data", "/queue/status"),
    *("/cancel", "/reset", "/startup-events", "/theme.css"),
)
_ROUTES = {*_PAGE_ROUTES, *(f"{_API}{route}" for route in _API_ROUTES)}
_STREAMS = (f"{_API}/queue/data", f"{_API}/call/")
_FOLDERS = ("/assets/", "/static/", "/svelte/", f"{_API}/call/", f"{_API}/heartbeat/", _FILE)
# Messages besides recordings, such as the names of fifty of them: Gradio keeps all of a message.
_MESSAGE_BYTES = 64_000
_MESSAGE_S = 30.0
_MAX_QUERY_BYTES = 512

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE}
_FILE_HEADERS = {
    *("accept-ranges", "content-disposition", "content-length", "content-range", "content-type", "etag"),
    *("last-modified", "transfer-encoding"),
}


class PageRoutesMiddleware:
    """Answers 404 for every route of the page at `page` that is not listed here, and 413 for long messages to it."""

    def __init__(self, app: ASGIApp, *, page: str) -> None:
        self.app = app
        self.page = page
        self._small = BodyLimitMiddleware(
            app, max_bytes=_MESSAGE_BYTES, timeout_s=_MESSAGE_S, advice="Recordings are uploaded, files one by one."
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request to the page if its route is open."""
        if scope["type"] != "http" or not is_below(scope["path"], self.page):
            return await self.app(scope, receive, send)
        route = scope["path"].removeprefix(self.page)
        if not _is_open(route) or len(scope["query_string"]) > _MAX_QUERY_BYTES:
            return await problems.http_problem(404, "Not Found", "Not Found")(scope, receive, send)
        app = self.app if route.rstrip("/") == _UPLOAD else self._small
        answer = _Answer(send, is_file=route.startswith(_FILE))
        try:
            await app(scope, receive, answer.send)
        except Exception as error:
            await self._fail(error, answer, route, scope, receive)
        else:
            if answer.failed:
                await problems.internal_error()(scope, receive, send)

    async def _fail(self, error: Exception, answer: "_Answer", route: str, scope: Scope, receive: Receive) -> None:
        """Answer a request on which Gradio raised, without the words of the error, which quote the visitor."""
        if answer.failed and isinstance(error, OSError) and error.errno in _NO_ROOM:
            logger.error("An upload could not be stored: %s", error.strerror)
            return await problems.problem(StorageFull())(scope, receive, answer.pass_on)
        is_begun = answer.started and not answer.failed
        if is_begun and not route.startswith(_STREAMS):
            raise error
        logger.warning("Gradio failed at a request", extra={"reason": error_location(error)})
        if is_begun:
            # A stream of a session that Gradio does not know, or not any more, ends.
            return await answer.pass_on({"type": "http.response.body"})
        return await problems.internal_error()(scope, receive, answer.pass_on)


class _Answer:
    """Gradio's answer to one request. Its own failures (500), which it answers in plain text and then raises, are held
    back; the headers of files are filtered."""

    def __init__(self, send: Send, *, is_file: bool) -> None:
        self.started = False
        self.failed = False
        self.pass_on = send
        self._is_file = is_file

    async def send(self, message: Message) -> None:
        """Pass on a message, unless the answer is a failure of Gradio's."""
        if message["type"] == "http.response.start":
            self.started = True
            self.failed = message["status"] == 500
            if self._is_file:
                _keep_file_headers(message)
        if not self.failed:
            await self.pass_on(message)


def _is_open(route: str) -> bool:
    return route.rstrip("/") in _ROUTES or (route.startswith(_FOLDERS) and "://" not in route)


def _keep_file_headers(message: Message) -> None:
    """Asked for a range, Gradio repeats the headers of the request in its answer, keys and cookies too."""
    headers = Headers(raw=message["headers"])
    message["headers"] = Headers({name: value for name, value in headers.items() if name in _FILE_HEADERS}).raw
