"""Puts the page at `/ui`. Its libraries take seconds to import: they are, in a thread, while the service answers."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.classification.classifier import Classifier
from service.runtime.daemon_thread import in_daemon_thread
from service.ui.hardening.queue import Visitors

logger = logging.getLogger(__name__)

PATH = "/ui"

# Visitors whose results are kept, of a megabyte at most; the longest gone are forgotten first.
_MAX_STATES = 500

_WAITING = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<meta name="viewport" content="width=device-width"><title>Music genre</title>
<style>:root { color-scheme: light dark } body { font: 1.2rem system-ui, sans-serif; margin: 20vh auto;
max-width: 30rem; padding: 0 1rem }</style></head><body><main><h1>What genre is this?</h1>
<p role="status">The page is getting ready. It appears by itself in a few seconds.</p></main></body></html>"""


class Page:
    """The ASGI application at `/ui`: a few words that refresh themselves until Gradio's application is there."""

    def __init__(self) -> None:
        self._app: ASGIApp = HTMLResponse(_WAITING, 503, {"Retry-After": "1", "Cache-Control": "no-store"})

    @property
    def is_ready(self) -> bool:
        """Whether it is the real one."""
        return not isinstance(self._app, HTMLResponse)

    @property
    def routes(self) -> list[BaseRoute]:
        """Of Gradio's application: what a mounted application is asked for."""
        return getattr(self._app, "routes", [])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
            # What Gradio adds to the lifespan of an application that it is mounted to before the start; without it the
            # queue answers nothing.
            await stack.enter_async_context(gradio_app.router.lifespan_context(gradio_app))
            gradio_app.get_blocks().run_startup_events()
            await gradio_app.get_blocks().run_extra_startup_events()
            watching = asyncio.create_task(Visitors(gradio_app.get_blocks()._queue).watch())
            stack.callback(watching.cancel)
        except Exception:
            logger.exception("The page could not be loaded; the API works without it.")
            return
        self._app = gradio_app


def mount(app: FastAPI, classifier: Classifier, *, max_upload_bytes: int, root_path: str = "") -> None:
    """Serve the page at `/ui` of `app`. root_path: the prefix under which a reverse proxy shows the service."""
    page = Page()
    app.mount(PATH, page)
    app.state.page = page
    lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def with_page(parent: FastAPI) -> AsyncIterator[Any]:
        async with lifespan(parent) as state:
            options = {"max_upload_bytes": max_upload_bytes, "root_path": root_path}
            async with page.loading(parent, classifier, **options):
                yield state

    app.router.lifespan_context = with_page


def _build(parent: FastAPI, classifier: Classifier, *, max_upload_bytes: int, root_path: str) -> Any:
    """Gradio's application, not started yet."""
    import gradio as gr

    from service.ui import theme
    from service.ui.blocks import build
    from service.ui.hardening import patches

    patches.to_log()
    patches.bound()
    blocks = build(classifier, max_upload_bytes=max_upload_bytes)
    # A mounted page is never launched, and while it says so Gradio skips its check of file paths: anyone could then
    # read every file of the server by posting its path.
    blocks.has_launched = True
    blocks.state_session_capacity = _MAX_STATES
    stand_in = FastAPI()
    # Gradio allows every origin unless its parent has a policy of its own.
    stand_in.user_middleware = parent.user_middleware
    gr.mount_gradio_app(
        stand_in,
        blocks,
        PATH,
        root_path=root_path + PATH,
        app_kwargs={"openapi_url": None},
        footer_links=[],
        # The form around a file needs some bytes of the request.
        max_file_size=max(1, max_upload_bytes - 1_000),
        run_history=False,
        # Its own errors may hold paths; ours are raised as gr.Error, which is always shown.
        show_error=False,
        ssr_mode=False,
        theme=theme.theme(),
        css_paths=theme.STYLE,
    )
    return stand_in.routes[-1].app  # type: ignore[attr-defined]
