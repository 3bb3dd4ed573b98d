"""Which routes of the page's framework are open, in plain ASGI. It has far more than the page needs: some fetch URLs,
read files or answer without a login, and a new version may bring others."""

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
_ROUTES = {"", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"} | {
    f"{_API}{route}"
    for route in ("/app_id", "/info", "/upload", "/upload_progress", "/queue/join", "/queue/data", "/queue/status")
    + ("/cancel", "/reset", "/startup-events", "/theme.css")
}
_ANSWERS = (f"{_API}/queue/data", f"{_API}/call/")
_FOLDERS = ("/assets/", "/static/", "/svelte/", f"{_API}/call/", f"{_API}/heartbeat/", _FILE)
# What a visitor sends besides recordings, such as the names of fifty of them: the framework keeps all of it.
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
        if scope["type"] != "http" or not is_below(scope["path"], self.page):
            return await self.app(scope, receive, send)
        route = scope["path"].removeprefix(self.page)
        known = route.rstrip("/") in _ROUTES or route.startswith(_FOLDERS) and "://" not in route
        if not known or len(scope["query_string"]) > _MAX_QUERY_BYTES:
            return await problems.http_problem(404, "Not Found", "Not Found")(scope, receive, send)

        is_file = route.startswith(_FILE)
        started = failed = False

        async def send_ours(message: Message) -> None:
            nonlocal started, failed
            if message["type"] == "http.response.start":
                started = True
                # The framework answers its own failures in plain text, and raises them afterwards.
                failed = message["status"] == 500
                if is_file:
                    _keep_file_headers(message)
            if not failed:
                await send(message)

        app = self.app if route.rstrip("/") == _UPLOAD else self._small
        try:
            await app(scope, receive, send_ours)
        except Exception as error:
            if failed and isinstance(error, OSError) and error.errno in _NO_ROOM:
                logger.error("An upload could not be stored: %s", error.strerror)
                return await problems.problem(StorageFull())(scope, receive, send)
            if started and not failed and not route.startswith(_ANSWERS):
                raise
            # Without its message, which quotes the visitor.
            logger.warning("the page's framework failed at a request", extra={"reason": error_location(error)})
            if started and not failed:
                # Told in the stream itself: nobody knows a visitor of that name, or not any more.
                return await send({"type": "http.response.body"})
            failed = True
        if failed:
            await problems.internal_error()(scope, receive, send)


def _keep_file_headers(message: Message) -> None:
    """Asked for a range, the framework repeats the headers of the request in its answer, keys and cookies too."""
    headers = Headers(raw=message["headers"])
    message["headers"] = Headers({name: value for name, value in headers.items() if name in _FILE_HEADERS}).raw
