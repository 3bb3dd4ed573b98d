"""The push gate, with models that always give the same answer."""

from pathlib import Path

import datasets
import pytest
from safetensors.torch import load_file, save_file

from service.model.artefact import Artefact, read_artefact
from tests.support import tiny_model
from tests.support.audio_files import encode, sweep
from training.evaluation.gate import judge

pytestmark = pytest.mark.thorough

_GENRES = ["jazz", "metal"]


def _model(folder: Path, answer: str, labels: list[str]) -> Artefact:
    tiny_model.save(folder, tuple(labels))
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][labels.index(answer)] += 1_000
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return read_artefact(folder, model_id=answer, revision=answer)


def _clips(metal: int, jazz: int) -> datasets.Dataset:
    audio = {"bytes": encode(sweep(1.0), "wav"), "path": None}
    rows = {"audio": [audio] * (metal + jazz), "genre": [1] * metal + [0] * jazz}
    return datasets.Dataset.from_dict(rows)


@pytest.fixture
def models(tmp_path: Path) -> tuple[Artefact, Artefact]:
    """One answers metal, one jazz, with the genres in another order."""
    return _model(tmp_path / "metal", "metal", _GENRES), _model(tmp_path / "jazz", "jazz", _GENRES[::-1])


def test_a_worse_model_is_refused_and_a_better_one_is_not(models: tuple[Artefact, Artefact]) -> None:
    metal, jazz = models
    clips = _clips(metal=18, jazz=2)
    worse = judge(jazz, metal, clips, _GENRES)
    assert (worse.new_accuracy, worse.current_accuracy, worse.n, worse.current) == (0.1, 0.9, 20, "metal")
    assert not worse.passed
    assert worse.low <= -0.8 <= worse.high
    assert judge(metal, jazz, clips, _GENRES).passed


def test_a_model_that_is_worse_within_noise_passes(models: tuple[Artefact, Artefact]) -> None:
    metal, jazz = models
    verdict = judge(jazz, metal, _clips(metal=6, jazz=4), _GENRES)
    assert verdict.new_accuracy < verdict.current_accuracy
    assert verdict.passed
