import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from service.runtime import logs


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged in the test, after which logging is as before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_text_line_has_time_level_message_and_fields(stderr: io.StringIO) -> None:
    logs.configure("INFO", "text")
    logging.getLogger("service").info("model ready", extra={"backend": "openvino-f32"})
    time, rest = stderr.getvalue().split(" ", 1)
    assert rest == "INFO    model ready  backend=openvino-f32\n"
    assert time.count(":") == 2


def test_json_line_is_an_object_with_the_fields(stderr: io.StringIO) -> None:
    logs.configure("INFO", "auto")
    logging.getLogger("service").info("model ready", extra={"backend": "openvino-f32"})
    entry = json.loads(stderr.getvalue())
    assert (entry["level"], entry["message"], entry["backend"]) == ("INFO", "model ready", "openvino-f32")


def test_auto_is_text_at_a_terminal_only(stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not logs.is_text("auto")
    monkeypatch.setattr(stderr, "isatty", lambda: True)
    assert logs.is_text("auto")
    assert not logs.is_text("json")
