"""Drop zone for several files. Each is sent in a request of its own: Gradio's file component sends all in one request,
which the upload limit then refuses as a whole."""

from typing import Any

MAX_FILES = 50
_MAX_NAME = 100


def render(max_upload_bytes: int) -> str:
    """HTML of the drop zone. max_upload_bytes: the limit of each file."""
    # The form around a file needs a few hundred bytes of the request.
    most = max(0, max_upload_bytes - 1_000)
    return (
        f'<label class="drop" data-most="{MAX_FILES}" data-bytes="{most}">Drop files here, or choose them'
        '<input type="file" multiple></label><p role="status"></p>'
    )


def files_of(event: object) -> list[tuple[str, str | None]]:
    """(name, path on the server) of each file that multi_upload.js sent; other content of the event is left out."""
    files: Any = event.get("files") if isinstance(event, dict) else None
    if not isinstance(files, list):
        return []
    pairs = [(file.get("name"), file.get("path")) for file in files[:MAX_FILES] if isinstance(file, dict)]
    return [
        (name[:_MAX_NAME], path if isinstance(path, str) else None) for name, path in pairs if isinstance(name, str)
    ]
