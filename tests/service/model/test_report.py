"""`python -m service.model`: a report that people read, and an exit status that scripts read."""

import json
from pathlib import Path

import pytest

from service.model.__main__ import main
from tests.support.golden_model import change, copy
from tests.support.hub_stand_in import HubStandIn
from tests.support.processes import run


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The report's values by the names of their lines."""
    return {line[:16].strip(): line[17:] for line in capsys.readouterr().out.splitlines()}


def test_a_model_of_training_is_proven(golden_folder: Path) -> None:
    result = run("service.model", str(golden_folder))
    assert result.returncode == 0, result.stdout
    report = {line[:16].strip(): line[17:] for line in result.stdout.splitlines()}
    assert report["window"] == "2 s"
    assert report["labels"].startswith("10: blues, classical")
    assert report["graphs"] == "float32 (in tiles); with checksums"
    assert report["familiarity"].startswith("not said")
    assert report["golden clips"].startswith("3 answered as in training by openvino-")
    assert list(report)[-1] == "result"


@pytest.mark.thorough
def test_a_repo_of_somebody_else_names_what_is_defaulted(
    hub: HubStandIn, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.create_repo("you/report-course")
    hub.commit("you/report-course", {path.name: path.read_bytes() for path in model_folder.iterdir()})
    assert main(["you/report-course"]) == 0
    report = lines(capsys)
    assert report["revision"] == hub.head("you/report-course")
    assert report["serving.json"] == "missing: defaults are used"
    assert report["window"] == "30 s (default)"
    assert report["uncertain below"] == "0.5 (default)"
    assert report["graphs"].startswith("none")
    assert report["golden clips"].startswith("none: nothing proves")


def test_a_model_that_answers_otherwise_is_refused(
    golden_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(golden_folder, tmp_path / "model", temperature=5.0)
    assert main([str(folder)]) == 1
    assert "does not answer as in training" in lines(capsys)["refused"]


@pytest.mark.parametrize("file", ["openvino/encoder.bin", "golden/metal.flac"])
def test_a_file_that_is_not_the_one_of_its_checksum_is_refused(
    golden_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    folder = copy(golden_folder, tmp_path / "model")
    with (folder / file).open("ab") as appended:
        appended.write(b"\0")
    assert main([str(folder)]) == 1
    assert f"{file} of {folder} is not the file that serving.json names" in lines(capsys)["refused"]


def test_weights_that_are_cut_off_are_refused(
    golden_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(golden_folder, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert main([str(folder)]) == 1
    assert lines(capsys)["refused"].startswith("model.safetensors of the model repo is damaged or cut off")


def test_graphs_of_another_head_are_refused(
    golden_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(golden_folder, tmp_path / "model")
    id2label = json.loads((folder / "config.json").read_text())["id2label"]
    change(folder / "config.json", id2label=id2label | {"10": "techno"})
    assert main([str(folder)]) == 1
    assert lines(capsys)["refused"].startswith("The graphs know 10 genres, and config.json 11")


def test_a_folder_without_a_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert "holds no config.json" in lines(capsys)["refused"]
