import json
import logging
import sys
from collections.abc import Iterator

import pytest

from service.runtime import logs


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def _logged(capsys: pytest.CaptureFixture[str]) -> str:
    logging.getLogger("service").info("model ready", extra={"backend": "openvino-f32"})
    return capsys.readouterr().err


def test_text_line_has_time_level_message_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "text")
    time, rest = _logged(capsys).split(" ", 1)
    assert rest == "INFO    model ready  backend=openvino-f32\n"
    assert time.count(":") == 2


def test_json_line_is_an_object_with_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "auto")
    entry = json.loads(_logged(capsys))
    assert (entry["level"], entry["message"], entry["backend"]) == ("INFO", "model ready", "openvino-f32")


def test_auto_is_text_at_a_terminal_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert not logs.is_text("auto")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert logs.is_text("auto")
    assert not logs.is_text("json")
