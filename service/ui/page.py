"""Mounts the page at `/ui`. Gradio takes seconds to import: a thread does so while the service answers already."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.classification.classifier import Classifier
from service.errors import StartupError
from service.runtime.daemon_thread import in_daemon_thread
from service.runtime.resources import lower_priority
from service.ui.hardening import uploads

if TYPE_CHECKING:
    from service.ui.hardening.queue import QueueLimits

logger = logging.getLogger(__name__)

PATH = "/ui"

# The page keeps so many uploads of the largest size, or as many bytes in smaller ones.
_KEPT_UPLOADS = 10

_HTML = """<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}
<meta name="viewport" content="width=device-width"><title>Music genre</title>
<style>:root {{ color-scheme: light dark }} body {{ font: 1.2rem system-ui, sans-serif; margin: 20vh auto;
max-width: 30rem; padding: 0 1rem }}</style></head><body><main><h1>What genre is this?</h1>
<p role="status">{status}</p></main></body></html>"""
_WAITING = _HTML.format(
    refresh='<meta http-equiv="refresh" content="1">',
    status="The page is getting ready. It appears by itself in a few seconds.",
)
_BROKEN = _HTML.format(
    refresh="", status="The page is out of order. The service's log says why. Programs can classify recordings still."
)


class Page:
    """The ASGI application at `/ui`: a page that refreshes itself until Gradio's application is there, or cannot be."""

    def __init__(self) -> None:
        self.queue_limits: QueueLimits | None = None
        self._app: ASGIApp = HTMLResponse(_WAITING, 503, {"Retry-After": "1", "Cache-Control": "no-store"})

    @property
    def is_ready(self) -> bool:
        """Whether Gradio's application is there."""
        return not isinstance(self._app, HTMLResponse)

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes of Gradio's application: starlette asks a mounted application for them."""
        return getattr(self._app, "routes", [])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with Gradio's application, or with the page in its place."""
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def loading(self, parent: FastAPI, classifier: Classifier, **options: Any) -> AsyncIterator[None]:
        """Loads the page in the background while the block runs, and ends it after."""
        async with AsyncExitStack() as stack:
            task = asyncio.create_task(self._load(stack, parent, classifier, options))
            stack.callback(task.cancel)
            yield

    async def _load(
        self, stack: AsyncExitStack, parent: FastAPI, classifier: Classifier, options: dict[str, Any]
    ) -> None:
        try:
            gradio_app = await in_daemon_thread("page", lambda: _build(parent, classifier, **options))
            self.queue_limits = await _start(gradio_app, stack)
        except Exception:
            logger.exception("The page could not be loaded; the API works without it.")
            self._app = HTMLResponse(_BROKEN, 503, {"Cache-Control": "no-store"})
            return
        self._app = gradio_app


def mount(
    app: FastAPI, classifier: Classifier, *, max_upload_bytes: int, upload_timeout_s: float, root_path: str = ""
) -> None:
    """Serve the page at `/ui` of `app`. Raises StartupError when Gradio is not installed.

    root_path: the prefix under which a reverse proxy shows the service.
    """
    if find_spec("gradio") is None:
        raise StartupError(
            "PAGE=true needs Gradio, which is not installed. Install music-genre-service[page], or set PAGE=false."
        )
    page = Page()
    app.mount(PATH, page)
    app.state.page = page
    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def with_page(parent: FastAPI) -> AsyncIterator[Any]:
        async with lifespan(parent) as state:
            options = {"max_upload_bytes": max_upload_bytes, "root_path": root_path}
            async with page.loading(parent, classifier, **options):
                kept = _KEPT_UPLOADS * max_upload_bytes
                clean_up = uploads.delete_expired_periodically(
                    uploads.upload_dir(), max_bytes=kept, partial_s=upload_timeout_s
                )
                task = asyncio.create_task(clean_up)
                yield state
                task.cancel()

    app.router.lifespan_context = with_page


def _build(parent: FastAPI, classifier: Classifier, *, max_upload_bytes: int, root_path: str) -> Any:
    """Gradio's application, not started yet."""
    # The model is loading, for which applications wait; visitors of the page wait for both.
    lower_priority()
    # Imported here, in a thread, as Gradio takes seconds.
    from service.ui.blocks import build
    from service.ui.hardening import mounting
    from service.ui.theme import STYLE, theme

    return mounting.build_app(
        build(classifier, max_upload_bytes=max_upload_bytes),
        parent,
        PATH,
        root_path=root_path,
        max_upload_bytes=max_upload_bytes,
        look={"theme": theme(), "css_paths": STYLE},
    )


async def _start(gradio_app: Any, stack: AsyncExitStack) -> "QueueLimits":
    from service.ui.hardening import mounting

    return await mounting.start(gradio_app, stack)
