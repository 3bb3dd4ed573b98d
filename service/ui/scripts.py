"""Scripts of the page, which Gradio runs in the browser."""

from pathlib import Path


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _function(name: str) -> str:
    # Gradio wants the function alone, without the comment above it.
    return "".join(line for line in _read(name).splitlines() if not line.startswith("//"))


TIMELINE = _read("timeline.js")
ALIKE = _read("alike.js")
MULTI_UPLOAD = _read("multi_upload.js")
MICROPHONE = _read("microphone.js")
ADDRESS = _function("address.js")
