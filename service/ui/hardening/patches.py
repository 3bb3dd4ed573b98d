"""Patches of Gradio: uploads that are bounded, no URLs in place of uploads, tracebacks as lines of our log."""

import logging
import sys
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import queueing, route_utils, routes
from gradio_client.utils import is_http_url_like
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException

from service.errors import error_location

logger = logging.getLogger(__name__)

_MAX_FILES = 10
_MAX_UPLOADS = 1_000


def replace(owner: object, name: str, replacement: object) -> None:
    """Replace an attribute of Gradio. Raises AttributeError when this version of Gradio has none of that name."""
    getattr(owner, name)
    setattr(owner, name, replacement)


def patch_gradio_uploads() -> None:
    """Bound the form that carries an upload, and the uploads whose progress is kept."""
    replace(route_utils, "GradioMultiPartParser", UploadForm)
    replace(routes, "file_upload_statuses", UploadProgress())


def patch_gradio_tracebacks() -> None:
    """Log where Gradio failed instead of printing a traceback, which quotes what visitors send."""
    for module in (queueing, route_utils, routes):
        replace(module, "traceback", _TracebackLog)


def refuse_urls(component: gr.Audio | gr.UploadButton, message: str) -> None:
    """Show `message` instead of downloading a URL that a visitor sends in place of an upload, without a limit.

    On the object, as a subclass of a component makes Gradio write a stub file beside its source.
    """
    move = component.async_move_resource_to_block_cache

    async def move_upload(url_or_path: str | Path | None) -> str | None:
        if url_or_path is not None and is_http_url_like(str(url_or_path)):
            raise gr.Error(message, print_exception=False)
        return await move(url_or_path)

    replace(component, "async_move_resource_to_block_cache", move_upload)


class UploadForm(route_utils.GradioMultiPartParser):
    """Gradio's form parser, which by itself keeps any text in memory, any number of files, and those that break off."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"max_files": _MAX_FILES})

    async def parse(self) -> FormData:
        """The form, whose files stay open where all of it arrives."""
        try:
            return await super().parse()
        except BaseException:
            # Gradio does so where the form is wrong, not where a visitor leaves. They are deleted with what expires.
            for file in self._files_to_close_on_error:
                file.close()
            raise

    def on_headers_finished(self) -> None:  # noqa: D102
        super().on_headers_finished()
        if self._current_part.file is None:
            raise MultiPartException("Only files can be uploaded.")


class UploadProgress(route_utils.FileUploadProgress):
    """Gradio's progress of uploads, which by itself keeps every upload id that was ever asked for."""

    def __init__(self, max_uploads: int = _MAX_UPLOADS) -> None:
        super().__init__()
        self._max_uploads = max_uploads

    def track(self, upload_id: str) -> None:
        """Begin to track an upload."""
        super().track(upload_id)
        self._forget()

    async def is_tracked(self, upload_id: str) -> bool:
        """Wait until an upload is tracked."""
        self._forget()
        return await super().is_tracked(upload_id)

    def _forget(self) -> None:
        kept: dict[str, Any]
        for kept in (self._statuses, self._signals):
            while len(kept) > self._max_uploads:
                del kept[next(iter(kept))]


class _TracebackLog:
    """The one function of `traceback` that Gradio's modules use."""

    @staticmethod
    def print_exc() -> None:
        logger.warning("Gradio event handler failed", extra={"reason": error_location(sys.exception())})
