import os
import subprocess
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from transformers import AutoModelForAudioClassification, PreTrainedModel, Wav2Vec2FeatureExtractor

from service.audio import WindowSpec
from tests.support.audio_files import encode as encode_audio
from tests.support.audio_files import sweep
from training.data.clips import Clips
from training.data.inputs import ClipWindows
from training.errors import TrainingError
from training.finetuning import encoder_cache
from training.finetuning.encoder_cache import EncodedClips, encode

WINDOW_S = 1.0
# One window, three windows, one window.
LENGTHS_S = (1.0, 5.0, 0.6)


@pytest.fixture(scope="module")
def clips() -> Clips:
    rows = [
        {"audio": {"bytes": encode_audio(sweep(length_s), "wav"), "path": f"{genre}/{genre}.wav"}, "genre": genre}
        for genre, length_s in enumerate(LENGTHS_S)
    ]
    return Clips(datasets.Dataset.from_list(rows), ("a", "b", "c"), "sweeps", None, (), {})


@pytest.fixture(scope="module")
def windows(clips: Clips) -> ClipWindows:
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    return ClipWindows(clips.dataset, extractor, WindowSpec(16_000, WINDOW_S), max_windows=3)


@pytest.fixture
def model(model_folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForAudioClassification.from_pretrained(model_folder)
    model.eval()
    return model


def _encode(clips: Clips, windows: ClipWindows, model: PreTrainedModel, folder: Path) -> EncodedClips:
    return encode(clips, windows, model, folder, bf16=False, batch_size=2)


def test_the_model_answers_from_the_cache_as_from_the_waveform(
    clips: Clips, windows: ClipWindows, model: PreTrainedModel, tmp_path: Path
) -> None:
    cached = _encode(clips, windows, model, tmp_path).evaluation([0, 1, 2])
    assert len(windows) == 5
    for index in range(len(windows)):
        whole = model(torch.tensor(windows[index]["input_values"])[None]).logits
        with encoder_cache.bypassed(model, wanted=True):
            rest = model(cached[index]["input_values"][None]).logits
        torch.testing.assert_close(rest, whole, atol=0.01, rtol=0.01)
        assert cached[index]["labels"] == windows[index]["labels"]
    assert model(torch.zeros(1, 16_000)).logits.shape == (1, 10), "the encoder is back"


def test_cache_of_a_killed_run_is_completed_without_computing_twice(
    clips: Clips, windows: ClipWindows, model: PreTrainedModel, tmp_path: Path
) -> None:
    whole = _encode(clips, windows, model, tmp_path).features.clone()
    (path,) = tmp_path.glob("*.bf16")
    window_bytes = encoder_cache.size(windows, model).window_bytes
    marked = bytearray(path.read_bytes()[: 2 * window_bytes + 7])
    marked[:2] = b"\x00\x40"  # 2.0 in bfloat16, which the encoder did not give.
    path.with_suffix(".part").write_bytes(marked)
    path.unlink()
    resumed = _encode(clips, windows, model, tmp_path).features
    assert resumed[0, 0, 0] == 2.0
    torch.testing.assert_close(resumed[1:], whole[1:])
    assert [file.suffix for file in sorted(tmp_path.iterdir())] == [".bf16", ".lock"]


def test_cache_is_reused_by_another_run_of_the_same_encoder_only(
    clips: Clips, windows: ClipWindows, model: PreTrainedModel, tmp_path: Path
) -> None:
    _encode(clips, windows, model, tmp_path)
    (path,) = tmp_path.glob("*.bf16")
    before = path.stat().st_mtime_ns
    _encode(clips, windows, model, tmp_path)
    assert path.stat().st_mtime_ns == before
    with torch.no_grad():
        next(model.base_model.get_submodule("feature_extractor").parameters()).add_(1)
    _encode(clips, windows, model, tmp_path)
    assert len(list(tmp_path.glob("*.bf16"))) == 2


def test_training_takes_the_first_window_or_draws_one_by_the_seed(
    clips: Clips, windows: ClipWindows, model: PreTrainedModel, tmp_path: Path
) -> None:
    encoded = _encode(clips, windows, model, tmp_path)
    first = encoded.training([1, 2], seed=7, random_crop=False)
    assert len(first) == 2
    assert torch.equal(first[0]["input_values"], encoded.features[1])
    assert torch.equal(first[1]["input_values"], encoded.features[4])
    assert [first[index]["labels"] for index in range(2)] == [1, 2]
    drawn = encoded.training([1], seed=7, random_crop=True)
    values = []
    for epoch in range(20):
        drawn.set_epoch(epoch)
        values.append(drawn[0]["input_values"])
    assert len({value.view(torch.int16).numpy().tobytes() for value in values}) == 3
    drawn.set_epoch(5)
    assert torch.equal(drawn[0]["input_values"], values[5])


def test_validation_clips_have_all_their_windows_and_no_others(
    clips: Clips, windows: ClipWindows, model: PreTrainedModel, tmp_path: Path
) -> None:
    some = _encode(clips, windows, model, tmp_path).evaluation([0, 2])
    assert [some[index]["labels"] for index in range(len(some))] == [0, 2]  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_too_small_a_disk_is_refused_before_encoding(
    clips: Clips, windows: ClipWindows, model: PreTrainedModel, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(TrainingError, match="no room .* HF_HOME"):
            _encode(clips, windows, model, small)
        assert list(small.rglob("*.part")) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_labels_and_clips_match_the_windows(
    clips: Clips, windows: ClipWindows, model: PreTrainedModel, tmp_path: Path
) -> None:
    encoded = _encode(clips, windows, model, tmp_path)
    np.testing.assert_array_equal(encoded.clips, [0, 1, 1, 1, 2])
    assert encoded.features.dtype == torch.bfloat16
