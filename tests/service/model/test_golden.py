"""Golden clips: the scores of training are met, and everything that does not belong together is refused in words."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import StartupError
from service.inference.loading import load_backend
from service.model import golden
from service.model.artefact import Artefact, read_artefact
from service.model.serving_file import Golden
from tests.support.golden_model import change, copy


def read(folder: Path) -> Artefact:
    return read_artefact(folder, model_id="you/genre", revision="c" * 40)


def exact(artefact: Artefact) -> golden.Infer:
    backend = load_backend("openvino", artefact, 1)
    return lambda windows: backend.infer(windows).probabilities


def listed(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "serving.json").read_text())["golden"]
    return content


def test_training_writes_short_clips_with_scores_and_tolerances(golden_folder: Path) -> None:
    artefact = read(golden_folder)
    assert artefact.golden is not None
    assert [clip.file for clip in artefact.golden.clips] == [
        f"golden/{style}.flac" for style in ("classical", "hiphop", "metal")
    ]
    assert all(
        abs(sum(clip.scores.values()) - 1) < 1e-3 and tuple(clip.scores) == artefact.labels
        for clip in artefact.golden.clips
    )
    assert artefact.golden.tolerances.keys() == {"float32", "bfloat16", "float16", "int8"}
    assert artefact.golden.tolerances["float32"] == 0.01
    assert sum(path.stat().st_size for path in (golden_folder / "golden").iterdir()) < 1_000_000


@pytest.mark.parametrize("choice", ["openvino", "torch"])
def test_every_backend_answers_as_in_training(golden_folder: Path, choice: Any) -> None:
    artefact = read(golden_folder)
    backend = load_backend(choice, artefact, 1)
    precision = golden.precision_of(backend.name)
    difference = golden.check(artefact, lambda windows: backend.infer(windows).probabilities, precision)
    assert difference is not None
    assert difference <= golden.tolerance_of(artefact, precision)


def test_a_repo_without_golden_clips_has_nothing_to_compare(model_folder: Path) -> None:
    assert golden.check(read(model_folder), lambda windows: windows, "float32") is None


def test_permuted_labels_are_refused(golden_folder: Path, tmp_path: Path) -> None:
    folder = copy(golden_folder, tmp_path / "model")
    id2label = json.loads((folder / "config.json").read_text())["id2label"]
    change(folder / "config.json", id2label={index: id2label[str(9 - int(index))] for index in id2label})
    artefact = read(folder)
    with pytest.raises(StartupError, match=r"you/genre does not answer as in training: golden/.* in place of"):
        golden.check(artefact, exact(artefact), "float32")


def test_labels_that_training_did_not_know_are_refused(golden_folder: Path, tmp_path: Path) -> None:
    folder = copy(golden_folder, tmp_path / "model")
    id2label = json.loads((folder / "config.json").read_text())["id2label"]
    change(folder / "config.json", id2label=id2label | {"3": "techno"})
    artefact = read(folder)
    with pytest.raises(StartupError, match="scores of other labels than config.json"):
        golden.check(artefact, exact(artefact), "float32")


def test_another_temperature_is_refused(golden_folder: Path, tmp_path: Path) -> None:
    artefact = read(copy(golden_folder, tmp_path / "model", temperature=1.0))
    with pytest.raises(StartupError, match="does not answer as in training"):
        golden.check(artefact, exact(artefact), "float32")


def test_scores_that_are_no_numbers_are_refused(golden_folder: Path) -> None:
    artefact = read(golden_folder)
    assert artefact.golden is not None
    with pytest.raises(StartupError, match="does not answer as in training"):
        golden.compare(artefact, artefact.golden.clips[0], np.full(10, np.nan, np.float32), "int8")


@pytest.mark.parametrize("content", [None, b"", b"another file"])
def test_a_clip_that_is_missing_or_another_is_named(golden_folder: Path, tmp_path: Path, content: bytes | None) -> None:
    folder = copy(golden_folder, tmp_path / "model")
    clip = folder / "golden" / "hiphop.flac"
    clip.unlink() if content is None else clip.write_bytes(content)
    with pytest.raises(StartupError, match=r"golden/hiphop.flac of you/genre is not the file that serving.json names"):
        golden.read_clip(read(folder), Golden.model_validate(listed(folder)).clips[1])


@pytest.mark.parametrize(
    "file", ["../secret.flac", "golden/../../x.flac", "/etc/x.flac", "golden/.x.flac", "golden/a.wav"]
)
def test_a_clip_outside_of_its_folder_is_refused(golden_folder: Path, tmp_path: Path, file: str) -> None:
    clips = listed(golden_folder)["clips"]
    folder = copy(golden_folder, tmp_path / "model", golden={"clips": [clips[0] | {"file": file}]})
    with pytest.raises(StartupError, match=r"serving.json of the model repo: golden.clips.0.file"):
        read(folder)


@pytest.mark.parametrize(
    ("backend", "precision"),
    [
        ("openvino-f32", "float32"),
        ("openvino-bf16", "bfloat16"),
        ("openvino-int8", "int8"),
        ("torch-cpu-float32", "float32"),
        ("torch-cuda-bfloat16", "bfloat16"),
        ("torch-cuda-float16", "float16"),
        ("something", "float32"),
    ],
)
def test_backends_name_their_precision(backend: str, precision: str) -> None:
    assert golden.precision_of(backend) == precision
