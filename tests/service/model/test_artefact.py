"""The contract with training: what a model folder says, what is defaulted, and what is refused in words."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from service.audio import WindowSpec
from service.errors import StartupError
from service.model.artefact import DEFAULT_CONFIDENCE_THRESHOLD, DEFAULT_WINDOW_S, Artefact, read_artefact
from service.model.serving_file import ServingFile, TrainedOn
from tests.conftest import GENRES

SERVING = {"schema_version": 1, "window_s": 3.0, "fill": "repeat", "temperature": 1.7, "uncertain_below": 0.4}


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def read(folder: Path, *, revision: str | None = "c" * 40) -> Artefact:
    return read_artefact(folder, model_id="you/genre", revision=revision)


def change(folder: Path, name: str, **fields: Any) -> None:
    """Set fields of a JSON file; None removes one."""
    path = folder / name
    content = json.loads(path.read_text()) if path.exists() else {}
    content |= fields
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_a_repo_without_our_files_is_served_with_defaults_that_it_names(folder: Path) -> None:
    artefact = read(folder)
    assert artefact.labels == GENRES
    assert artefact.window == WindowSpec(16_000, DEFAULT_WINDOW_S)
    assert (artefact.temperature, artefact.confidence_threshold) == (1.0, DEFAULT_CONFIDENCE_THRESHOLD)
    assert artefact.defaulted_fields == ("window_s", "temperature", "uncertain_below")
    assert (artefact.model_id, artefact.revision) == ("you/genre", "c" * 40)


def test_values_of_serving_json_are_used(folder: Path) -> None:
    change(folder, "serving.json", **SERVING, something_new="is ignored")
    artefact = read(folder)
    assert (artefact.window.length_s, artefact.temperature, artefact.confidence_threshold) == (3.0, 1.7, 0.4)
    assert artefact.defaulted_fields == ()


def test_training_data_is_read() -> None:
    written = ServingFile(schema_version=1, trained_on=TrainedOn(name="synthetic music", synthetic=True))
    assert ServingFile.model_validate_json(written.model_dump_json(by_alias=True)) == written


def test_an_uncertainty_of_zero_is_said_not_missing(folder: Path) -> None:
    change(folder, "serving.json", **SERVING | {"uncertain_below": 0.0})
    assert read(folder).confidence_threshold == 0.0


def test_the_window_comes_from_the_extractor_when_serving_json_does_not_say(folder: Path) -> None:
    change(folder, "preprocessor_config.json", max_length=80_000)
    change(folder, "serving.json", schema_version=1)
    artefact = read(folder)
    assert artefact.window.length_s == 5.0
    assert artefact.defaulted_fields == ("temperature", "uncertain_below")


def test_labels_follow_the_logits_not_the_alphabet(folder: Path) -> None:
    change(
        folder, "config.json", id2label={"10": "k", "2": "c", **{str(i): f"l{i}" for i in (0, 1, 3, 4, 5, 6, 7, 8, 9)}}
    )
    assert read(folder).labels == ("l0", "l1", "c", "l3", "l4", "l5", "l6", "l7", "l8", "l9", "k")


def test_a_local_folder_is_named_by_its_content(folder: Path) -> None:
    before = read(folder, revision=None).revision
    assert before.startswith("local-")
    assert read(folder, revision=None).revision == before
    change(folder, "serving.json", **SERVING)
    assert read(folder, revision=None).revision != before


def test_sharded_weights_are_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")
    assert read(folder).labels == GENRES


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "holds no config.json"),
        ("preprocessor_config.json", "holds no preprocessor_config.json"),
        ("model.safetensors", "you/genre holds no model.safetensors"),
    ],
)
def test_a_missing_file_is_named(folder: Path, name: str, message: str) -> None:
    (folder / name).unlink()
    with pytest.raises(StartupError, match=message):
        read(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["model.safetensors", "openvino/tiling.safetensors", "golden"])
def test_file_of_another_user_is_named(folder: Path, name: str) -> None:
    (folder / "golden").mkdir()
    (folder / "openvino").mkdir()
    (folder / "openvino" / "tiling.safetensors").touch()
    (folder / name).chmod(0)
    with pytest.raises(StartupError, match=rf"may not read {name} .* chmod -R a\+rX"):
        read(folder)


def test_a_repo_of_pickles_only_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(StartupError, match="holds no model.safetensors. Save the model with save_pretrained"):
        read(folder)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "serving.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "is not JSON"), (b"\xff\xfe", "is not JSON"), (b"[1]", "is not a JSON object")],
)
def test_a_file_that_is_no_json_object_is_named(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(StartupError, match=f"^{name} of the model repo {message}"):
        read(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"schema_version": 2},
        {"schema_version": None},
        {"window_s": 0},
        {"window_s": 0.1},
        {"window_s": 121},
        {"temperature": 0},
        {"temperature": float("inf")},
        {"uncertain_below": 1.1},
        {"uncertain_below": "high"},
    ],
    ids=str,
)
def test_a_serving_json_that_cannot_be_served_is_refused_by_its_field(folder: Path, fields: dict[str, Any]) -> None:
    change(folder, "serving.json", **SERVING | fields)
    (field,) = fields
    with pytest.raises(StartupError, match=f"^serving.json of the model repo: {field}: .*Update the service"):
        read(folder)


@pytest.mark.parametrize("max_length", [-1, 100, 16_000 * 601, "long", True, 80_000.5])
def test_an_unusable_length_in_the_extractor_is_refused(folder: Path, max_length: object) -> None:
    change(folder, "preprocessor_config.json", max_length=max_length)
    with pytest.raises(StartupError, match="^preprocessor_config.json names no usable max_length"):
        read(folder)


@pytest.mark.parametrize("rate", [None, 0, 100, 1_000_000, "16000"])
def test_an_unusable_sampling_rate_is_refused(folder: Path, rate: object) -> None:
    change(folder, "preprocessor_config.json", sampling_rate=rate)
    with pytest.raises(StartupError, match="names no usable sampling_rate"):
        read(folder)


@pytest.mark.parametrize("id2label", [None, [], {}, {"0": "music"}, {"0": "a", "2": "b"}, {"a": "b", "c": "d"}])
def test_unusable_labels_are_refused(folder: Path, id2label: object) -> None:
    change(folder, "config.json", id2label=id2label)
    with pytest.raises(StartupError, match="holds no usable id2label"):
        read(folder)


@pytest.mark.parametrize("fields", [{"feature_extractor_type": "ASTFeatureExtractor"}, {"feature_size": 80}])
def test_a_model_that_hears_spectrograms_is_refused(folder: Path, fields: dict[str, Any]) -> None:
    change(folder, "preprocessor_config.json", **fields)
    with pytest.raises(StartupError, match="cannot run. MODEL_ID must name a HuBERT"):
        read(folder)


def test_whether_windows_are_normalised_is_taken(folder: Path) -> None:
    assert read(folder).do_normalize
    change(folder, "preprocessor_config.json", do_normalize=False)
    assert not read(folder).do_normalize
