"""Builds Gradio's application from blocks, and starts it after its parent has started."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import gradio as gr
from fastapi import FastAPI

from service.ui.hardening.patches import patch_gradio_tracebacks, patch_gradio_uploads, replace
from service.ui.hardening.queue import QueueLimits

# Visitors whose results are kept, of a megabyte at most; the longest gone are forgotten first.
_MAX_STATES = 500

# The multipart form around a file needs some bytes of the request.
_FORM_BYTES = 1_000


def build_app(
    blocks: gr.Blocks,
    parent: FastAPI,
    path: str,
    *,
    root_path: str,
    max_upload_bytes: int,
    look: Mapping[str, Any],
) -> Any:
    """Gradio's application for `blocks`, not started yet, for a mount at `path` of `parent`. look: theme and CSS."""
    patch_gradio_tracebacks()
    patch_gradio_uploads()
    # A mounted page is never launched, and while it says so Gradio skips its check of file paths: anyone could then
    # read every file of the server by posting its path.
    replace(blocks, "has_launched", True)
    replace(blocks, "state_session_capacity", _MAX_STATES)
    # Gradio mounts into an application and allows every origin unless that has a CORS policy. The real parent runs
    # already, so Gradio is mounted into a copy with the same middlewares, and its application is taken from there.
    mount = FastAPI()
    mount.user_middleware = parent.user_middleware
    gr.mount_gradio_app(
        mount,
        blocks,
        path,
        root_path=root_path + path,
        app_kwargs={"openapi_url": None},
        footer_links=[],
        max_file_size=max(1, max_upload_bytes - _FORM_BYTES),
        run_history=False,
        # Gradio's own errors may hold paths; ours are raised as gr.Error, which is always shown.
        show_error=False,
        ssr_mode=False,
        **look,
    )
    (route,) = [route for route in mount.routes if getattr(route, "path", None) == path]
    return route.app  # type: ignore[attr-defined]


async def start(gradio_app: Any, stack: AsyncExitStack) -> QueueLimits:
    """Do what Gradio adds to the lifespan of a parent that has not started yet; without it the queue answers nothing.

    stack: ends Gradio when it is closed. Returns the limits of its queue, which are in force.
    """
    blocks = gradio_app.get_blocks()
    await stack.enter_async_context(gradio_app.router.lifespan_context(gradio_app))
    blocks.run_startup_events()
    await blocks.run_extra_startup_events()
    limits = QueueLimits(blocks._queue)
    watching = asyncio.create_task(limits.watch())
    stack.callback(watching.cancel)
    return limits
