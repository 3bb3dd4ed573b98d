"""The golden clips before a service is ready: through decoder processes, windows and engine, as requests go."""

import json
from pathlib import Path

import pytest

from tests.support.golden_model import change, copy
from tests.support.service_process import Start

pytestmark = pytest.mark.thorough


def test_the_clips_are_compared_before_the_service_is_ready(start: Start, golden_folder: Path) -> None:
    service = start(MODEL_ID=str(golden_folder), DECODERS="1")
    service.wait_for("/readyz")
    service.stop()
    messages = [line["message"] for line in service.log]
    (passed,) = [line for line in service.log if line["message"] == "golden clips passed"]
    assert messages.index("golden clips passed") < messages.index("model ready")
    assert passed["clips"] == 3
    assert passed["largest_difference"] <= passed["tolerance"]


def test_a_first_model_that_answers_otherwise_ends_the_service_with_one_line(
    start: Start, golden_folder: Path, tmp_path: Path
) -> None:
    folder = copy(golden_folder, tmp_path / "model")
    id2label = json.loads((folder / "config.json").read_text())["id2label"]
    change(folder / "config.json", id2label={index: id2label[str(9 - int(index))] for index in id2label})
    service = start(MODEL_ID=str(folder), DECODERS="1")
    assert service.wait() == 1
    assert not any(line["message"] == "model ready" for line in service.log)
    (line,) = [line for line in service.log if line["level"] == "ERROR"]
    assert "does not answer as in training: golden/" in line["message"]


def test_a_golden_clip_that_cannot_be_decoded_is_named(start: Start, golden_folder: Path, tmp_path: Path) -> None:
    folder = copy(golden_folder, tmp_path / "model")
    clip = folder / "golden" / "metal.flac"
    clip.write_bytes(b"fLaC" + b"\0" * 1_000)
    from service.model.serving_file import sha256

    golden = json.loads((folder / "serving.json").read_text())["golden"]
    golden["clips"][2]["sha256"] = sha256(clip)
    change(folder / "serving.json", golden=golden)
    service = start(MODEL_ID=str(folder), DECODERS="1")
    assert service.wait() == 1
    (line,) = [line for line in service.log if line["level"] == "ERROR"]
    assert line["message"].startswith("golden/metal.flac of ")
    assert "cannot be heard" in line["message"]
