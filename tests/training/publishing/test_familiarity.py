"""What training writes of known music into a model folder, and that the service's contract reads it."""

import io
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from service.audio import normalise, read_recording
from service.model.artefact import read_artefact
from service.model.familiarity import describe
from service.model.graphs.locate import locate
from service.model.graphs.runner import GraphRunner
from tests.support.audio_files import encode
from tests.support.golden_model import copy
from training.publishing import familiarity

pytestmark = pytest.mark.thorough

_RATE = 16_000
_CPU = torch.device("cpu")


def _clip(genre: int, seed: int) -> bytes:
    """Half a second: a chord of pure tones, or clicks."""
    draw = np.random.default_rng([genre, seed])
    time_s = np.arange(_RATE // 2) / _RATE
    if genre == 0:
        waveform = sum(np.sin(2 * np.pi * draw.uniform(200, 2_000) * time_s) for _ in range(3)) / 4
    else:
        waveform = np.where(time_s % draw.uniform(0.05, 0.1) < 0.002, 0.9, 0.0)
    return encode((waveform + 0.01 * draw.standard_normal(len(time_s))).astype(np.float32), "wav", _RATE)


def _clips(count: int, first_seed: int) -> datasets.Dataset:
    rows = [
        {"audio": {"bytes": _clip(index % 2, first_seed + index), "path": None}, "genre": index % 2}
        for index in range(count)
    ]
    return datasets.Dataset.from_list(rows)


def test_familiarity_file_is_written_and_read_back(golden_folder: Path, tmp_path: Path) -> None:
    folder = copy(golden_folder, tmp_path / "model")
    figures = familiarity.write(folder, _clips(24, 0), _clips(20, 100), _CPU)
    assert figures is not None
    assert figures.auroc.n == 20
    artefact = read_artefact(folder, model_id="you/genre", revision=None)
    assert artefact.familiarity is not None
    # The spectrum's 60 features and the embedding of 16 numbers.
    assert artefact.familiarity.means.shape == (2, 76)
    artefact.familiarity.require_embedding(16)
    assert artefact.familiarity.threshold == figures.threshold
    assert json.loads((folder / "serving.json").read_text())["familiarity"]["clips"] == 20
    assert artefact.golden is not None


def test_too_few_held_out_clips_leave_no_file(
    golden_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy(golden_folder, tmp_path / "model")
    assert familiarity.write(folder, _clips(4, 0), _clips(19, 100), _CPU) is not None
    assert familiarity.write(folder, _clips(4, 0), _clips(18, 100), _CPU) is None
    assert not (folder / "familiarity.safetensors").exists()
    assert read_artefact(folder, model_id="you/genre", revision=None).familiarity is None
    assert "18 clips are held out, and 19 are the least" in caplog.text


@pytest.mark.slow
def test_distances_are_those_that_the_service_finds(golden_folder: Path, tmp_path: Path) -> None:
    folder = copy(golden_folder, tmp_path / "model")
    held_out = _clips(19, 100)
    assert familiarity.write(folder, _clips(60, 0), held_out, _CPU) is not None
    artefact = read_artefact(folder, model_id="you/genre", revision=None)
    assert artefact.familiarity is not None
    runner = GraphRunner(locate(artefact).graphs, artefact.window.samples, 1, "f32")
    distances = []
    for audio in held_out["audio"]:
        (window,) = read_recording(io.BytesIO(audio["bytes"]), artefact.window, max_windows=1).windows
        _, embeddings = runner.infer(normalise(window)[None])
        assert embeddings is not None
        distances.append(artefact.familiarity.distances(describe(window, _RATE, embeddings[0])).min())
    # The threshold is the largest of 19.
    assert max(distances) == pytest.approx(artefact.familiarity.threshold, rel=1e-2)
