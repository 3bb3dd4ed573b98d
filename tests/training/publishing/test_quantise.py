"""Int8 graphs are written when they answer as those in floats do, and the service takes no others."""

import json
from pathlib import Path

import numpy as np
import pytest

from service.errors import StartupError
from service.inference.loading import load_backend
from service.model.artefact import read_artefact
from service.model.graphs.core import CORE
from service.model.graphs.locate import locate
from service.model.layout import INT8_GRAPH_FOLDER
from tests.support.audio_files import encode
from training import export
from training.__main__ import main
from training.publishing.quantise import Comparison

_RATE = 16_000


@pytest.fixture(scope="module")
def finished(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a run that told tones from noise, exported in int8."""
    folder = tmp_path_factory.mktemp("int8")
    rng = np.random.default_rng(0)
    for number in range(20):
        tone = np.sin(2 * np.pi * (200 + 20 * number) * np.arange(_RATE) / _RATE) * 0.5
        for genre, waveform in (("tone", tone), ("noise", rng.standard_normal(_RATE) * 0.1)):
            path = folder / "clips" / genre / f"{genre}.{number:05}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(waveform.astype(np.float32), "wav", _RATE))
    options = (
        *("--dataset", str(folder / "clips"), "--model_name_or_path", str(model_folder), "--new_head"),
        *("--max_duration_s", "1", "--learning_rate", "1e-2", "--max_steps", "20", "--output_dir", str(folder / "run")),
    )
    assert main([*options]) == 0
    assert export.main([str(folder / "run"), "--int8"]) == 0
    return folder / "run"


@pytest.mark.thorough
def test_the_service_runs_the_int8_graph(finished: Path) -> None:
    artefact = read_artefact(finished / "model", model_id="you/genre", revision=None)
    backend = load_backend("auto", artefact, threads=1)
    assert backend.name == "openvino-int8"
    rng = np.random.default_rng(1)
    tone = np.sin(2 * np.pi * 300 * np.arange(_RATE) / _RATE) * 2**0.5
    windows = np.stack([tone, rng.standard_normal(_RATE)]).astype(np.float32)
    assert [artefact.labels[row.argmax()] for row in backend.infer(windows).probabilities] == ["tone", "noise"]


def test_first_convolution_norms_and_head_stay_in_floats(finished: Path) -> None:
    folder = finished / "model" / INT8_GRAPH_FOLDER
    in_8_bits: dict[str, bool] = {}
    for name in ("encoder.xml", "transformer.xml"):
        for node in CORE.read_model(folder / name).get_ordered_ops():
            if node.get_type_name() in {"Convolution", "GroupConvolution", "MatMul", "MVN"}:
                source = node.input_value(0).get_node().get_type_name()
                in_8_bits[node.get_friendly_name()] = source == "FakeQuantize"
    kept = {name for name in in_8_bits if any(part in name for part in ("first.conv", "layer_norm", "classifier"))}
    assert len(kept) >= 4
    assert not any(in_8_bits[name] for name in kept)
    assert any(in_8_bits.values())


def test_the_card_says_what_was_compared(finished: Path) -> None:
    card = (finished / "model" / "README.md").read_text()
    assert card.count("## In 8 bits") == 1
    assert "on the 4 held-out clips" in card
    row = next(line for line in card.splitlines() if line.startswith("| int8 "))
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["int8", "1.000", "1.000"]


def test_a_graph_that_serving_json_does_not_name_is_not_used(finished: Path) -> None:
    serving = finished / "model" / "serving.json"
    named = serving.read_text()
    content = json.loads(named)
    content["graphs"] = {name: hash_ for name, hash_ in content["graphs"].items() if "int8" not in name}
    serving.write_text(json.dumps(content))
    artefact = read_artefact(finished / "model", model_id="you/genre", revision=None)
    serving.write_text(named)
    assert locate(artefact).precision == "float32"


@pytest.mark.parametrize("name", ["int8/encoder.xml", "int8/transformer.bin", "int8/tiling.safetensors"])
def test_a_graph_with_other_content_is_refused(finished: Path, name: str) -> None:
    path = finished / "model" / "openvino" / name
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    artefact = read_artefact(finished / "model", model_id="you/genre", revision=None)
    with pytest.raises(StartupError, match=f"openvino/{name} of you/genre is not the file that serving.json names"):
        locate(artefact)
    path.write_bytes(content)


def test_a_graph_that_is_none_is_refused(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    for path in model_folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    for name in ("model.xml", "model.bin"):
        (tmp_path / "openvino" / name).write_text("<html>")
    artefact = read_artefact(tmp_path, model_id="you/genre", revision=None)
    with pytest.raises(StartupError, match="The OpenVINO graphs of you/genre cannot be used: model.xml cannot be read"):
        load_backend("auto", artefact, threads=1)


@pytest.mark.thorough
def test_an_export_without_int8_takes_the_int8_graph_away(finished: Path) -> None:
    assert export.main([str(finished)]) == 0
    files = sorted(path.name for path in (finished / "model" / "openvino").iterdir())
    assert files == ["encoder.bin", "encoder.xml", "tiling.safetensors", "transformer.bin", "transformer.xml"]
    assert INT8_GRAPH_FOLDER not in (finished / "model" / "serving.json").read_text()
    CORE.read_model(finished / "model" / "openvino" / "encoder.xml")


def test_a_run_of_an_older_version_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = finished / "run.json"
    content = stored.read_text()
    stored.write_text('{"seed": 42}')
    assert export.main([str(finished)]) == 1
    stored.write_text(content)
    assert "holds no training run of this version" in capsys.readouterr().err


def test_an_export_of_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main([str(tmp_path)]) == 1
    assert "holds no finished model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("accuracy", "agreement", "passed"),
    [(0.80, 1.0, True), (0.796, 0.99, True), (0.795, 1.0, False), (0.80, 0.989, False), (0.85, 0.95, False)],
)
def test_int8_may_differ_by_half_a_point_and_one_percent_of_answers(
    accuracy: float, agreement: float, passed: bool
) -> None:
    comparison = Comparison(1000, {"float32": 0.80, "int8": accuracy}, {"float32": 1.0, "int8": agreement})
    assert comparison.passed is passed
