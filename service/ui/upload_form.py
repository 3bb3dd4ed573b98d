"""The form that carries an upload of the page: recordings and nothing else, a few at most."""

from typing import Any

from gradio import route_utils
from starlette.formparsers import MultiPartException

_MOST_FILES = 10


class _UploadForm(route_utils.GradioMultiPartParser):
    """Gradio's, which keeps any text in memory, and any number of files."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"max_files": _MOST_FILES})

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if self._current_part.file is None:
            raise MultiPartException("Only files can be uploaded.")


def bound() -> None:
    """Have Gradio use it."""
    setattr(route_utils, "GradioMultiPartParser", _UploadForm)  # noqa: B010
