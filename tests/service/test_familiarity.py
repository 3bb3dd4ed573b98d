"""A service with a model repo that says what known music looks like."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.audio_files import encode, sweep
from tests.support.golden_model import change, copy
from tests.support.service_process import Start

pytestmark = pytest.mark.thorough

_RATE = 16_000


@pytest.fixture
def familiar_folder(golden_folder: Path, tmp_path: Path) -> Path:
    """A model that knows sweeps of 2 s and nothing else."""
    from service.model.familiarity import Familiarity, describe
    from service.model.serving_file import FamiliarityEntry

    folder = copy(golden_folder, tmp_path / "model")
    known = np.concatenate([describe(sweep(2, _RATE), _RATE, None), np.zeros(16, np.float32)])[None]
    whitening = np.diag([1.0] * 60 + [1e-3] * 16).astype(np.float32)[None]
    digest = Familiarity(known, whitening, 0.5).save(folder)
    change(folder / "serving.json", familiarity=FamiliarityEntry(sha256=digest, threshold=0.5, clips=50).model_dump())
    return folder


def test_unlike_recordings_are_warned_of(start: Start, familiar_folder: Path) -> None:
    service = start(MODEL_ID=str(familiar_folder), DECODERS="1")
    service.wait_for("/readyz")
    noise = (np.random.default_rng(0).standard_normal(2 * _RATE) / 8).astype(np.float32)
    far, near = (service.classify(encode(waveform, "wav", _RATE)).json() for waveform in (noise, sweep(2, _RATE)))
    assert [warning["code"] for warning in far["warnings"]] == ["unfamiliar"]
    assert far["decision"] == "uncertain"
    assert near["warnings"] == []


def test_damaged_file_ends_the_service_with_one_line(start: Start, familiar_folder: Path) -> None:
    with (familiar_folder / "familiarity.safetensors").open("ab") as file:
        file.write(b"\0")
    service = start(MODEL_ID=str(familiar_folder), DECODERS="1")
    assert service.wait() == 1
    (line,) = [line for line in service.log if line["level"] == "ERROR"]
    assert line["message"].startswith("familiarity.safetensors is missing or not the file that serving.json names.")
