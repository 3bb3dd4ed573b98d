"""Which routes of the page's framework are open, in plain ASGI. It has far more than the page needs: some fetch URLs,
read files or answer without a login, and a new version may bring others."""

import errno
import logging

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import problems
from service.errors import StorageFull

logger = logging.getLogger(__name__)

_API = "/gradio_api"
_FILE = f"{_API}/file="
_ROUTES = {"", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"} | {
    f"{_API}{route}"
    for route in ("/app_id", "/info", "/upload", "/upload_progress", "/queue/join", "/queue/data", "/queue/status")
    + ("/cancel", "/reset", "/startup-events", "/theme.css")
}
_FOLDERS = ("/assets/", "/static/", "/svelte/", f"{_API}/call/", f"{_API}/heartbeat/", _FILE)
_FILE_HEADERS = {
    *("accept-ranges", "content-disposition", "content-length", "content-range", "content-type", "etag"),
    *("last-modified", "transfer-encoding"),
}


class PageRoutes:
    """Answers 404 for every route of the page at `page` that is not listed here."""

    def __init__(self, app: ASGIApp, *, page: str) -> None:
        self.app = app
        self.page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{self.page}/"):
            return await self.app(scope, receive, send)
        route = scope["path"].removeprefix(self.page)
        if route.rstrip("/") not in _ROUTES and not route.startswith(_FOLDERS) or "://" in route:
            return await problems.plain(404, "Not Found", "Not Found")(scope, receive, send)

        is_file = route.startswith(_FILE)
        failed = False

        async def send_ours(message: Message) -> None:
            nonlocal failed
            if message["type"] == "http.response.start":
                # The framework answers its own failures in plain text, and raises them afterwards.
                failed = message["status"] == 500
                if is_file:
                    _keep_file_headers(message)
            if not failed:
                await send(message)

        try:
            await self.app(scope, receive, send_ours)
        except OSError as error:
            if not failed or error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE}:
                raise
            logger.error("An upload could not be stored: %s", error.strerror)
            detail = "The service has no room for the upload. Try again later, or with a smaller file."
            return await problems.problem(StorageFull(detail))(scope, receive, send)
        if failed:
            await problems.internal_error()(scope, receive, send)


def _keep_file_headers(message: Message) -> None:
    """Asked for a range, the framework repeats the headers of the request in its answer, keys and cookies too."""
    headers = Headers(raw=message["headers"])
    message["headers"] = Headers({name: value for name, value in headers.items() if name in _FILE_HEADERS}).raw
