"""The form that carries an upload of the page: recordings and nothing else, a few at most; and how far it has come."""

import logging
import sys
from typing import Any

from gradio import queueing, route_utils, routes
from starlette.formparsers import MultiPartException

from service.errors import error_location

logger = logging.getLogger(__name__)

_MAX_FILES = 10
_MAX_UPLOADS = 1_000


class _UploadForm(route_utils.GradioMultiPartParser):
    """Gradio's, which keeps any text in memory, and any number of files."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"max_files": _MAX_FILES})

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if self._current_part.file is None:
            raise MultiPartException("Only files can be uploaded.")


class _Progress(route_utils.FileUploadProgress):
    """Gradio's, which keeps whatever was ever asked for."""

    def track(self, upload_id: str) -> None:
        super().track(upload_id)
        self._forget()

    async def is_tracked(self, upload_id: str) -> bool:
        self._forget()
        return await super().is_tracked(upload_id)

    def _forget(self) -> None:
        kept: dict[str, Any]
        for kept in (self._statuses, self._signals):
            while len(kept) > _MAX_UPLOADS:
                del kept[next(iter(kept))]


def bound() -> None:
    """Have Gradio use them."""
    setattr(route_utils, "GradioMultiPartParser", _UploadForm)  # noqa: B010
    routes.file_upload_statuses = _Progress()


class _Log:
    """What those modules use of `traceback`."""

    @staticmethod
    def print_exc() -> None:
        logger.warning(
            "the page's framework failed at what a visitor asked", extra={"reason": error_location(sys.exception())}
        )


def to_log() -> None:
    for module in (queueing, route_utils, routes):
        setattr(module, "traceback", _Log)  # noqa: B010
