import io
from typing import Any

import datasets
import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from service.audio import WindowSpec, normalise, open_audio, read_recording
from tests.support.audio_files import encode, sweep
from training.data.inputs import ClipWindows, TrainingWindows


@pytest.fixture(scope="module")
def extractor() -> Wav2Vec2FeatureExtractor:
    return Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)


def _clips(*files: bytes) -> datasets.Dataset:
    rows: list[dict[str, Any]] = [{"audio": {"bytes": file, "path": "jazz/a.wav"}, "genre": 3} for file in files]
    return datasets.Dataset.from_list(rows)


def test_training_sees_the_beginning_as_the_service_reads_it(extractor: Wav2Vec2FeatureExtractor) -> None:
    file = encode(sweep(5), "mp3")
    inputs = TrainingWindows(_clips(file), extractor, WindowSpec(16_000, 2), seed=0, random_crop=False)[0]
    with open_audio(io.BytesIO(file)) as audio:
        waveform = audio.read(0, 2, 16_000).waveform
    np.testing.assert_allclose(inputs["input_values"], normalise(waveform), atol=1e-5)
    assert inputs["attention_mask"].tolist() == [1] * 32_000
    assert inputs["labels"] == 3


def test_a_short_clip_is_repeated_to_the_window(extractor: Wav2Vec2FeatureExtractor) -> None:
    clips = _clips(encode(sweep(0.5), "wav"))
    values = TrainingWindows(clips, extractor, WindowSpec(16_000, 2), seed=0, random_crop=False)[0]["input_values"]
    assert values.shape == (32_000,)
    np.testing.assert_allclose(values[:8_000], values[8_000:16_000], atol=1e-6)


def test_a_random_crop_depends_on_seed_epoch_and_clip_alone(extractor: Wav2Vec2FeatureExtractor) -> None:
    clips = _clips(*[encode(sweep(10), "wav")] * 2)

    def crop(seed: int, epoch: int, index: int) -> npt.NDArray[np.float32]:
        windows = TrainingWindows(clips, extractor, WindowSpec(16_000, 1), seed=seed, random_crop=True)
        windows.set_epoch(epoch)
        values: npt.NDArray[np.float32] = windows[index]["input_values"]
        return values

    state = torch.get_rng_state()
    first = crop(0, 0, 0)
    for other in (crop(1, 0, 0), crop(0, 1, 0), crop(0, 0, 1)):
        assert not np.allclose(first, other, atol=0.1)
    np.testing.assert_array_equal(first, crop(0, 0, 0))
    assert torch.equal(state, torch.get_rng_state()), "dropout draws from it"


def test_evaluation_hears_the_windows_of_the_service(extractor: Wav2Vec2FeatureExtractor) -> None:
    half_silent = np.concatenate([sweep(4), np.zeros(4 * 48_000, np.float32)])
    files = [encode(waveform, "wav") for waveform in (sweep(1), sweep(7), half_silent)]
    windows = ClipWindows(_clips(*files), extractor, WindowSpec(16_000, 2), max_windows=3)
    served = [read_recording(io.BytesIO(file), WindowSpec(16_000, 2), max_windows=3).windows for file in files]
    assert windows.clips.tolist() == [0, 1, 1, 1, 2, 2]
    assert windows.references.tolist() == [3, 3, 3]
    heard = [windows[index]["input_values"] for index in range(len(windows))]
    expected = [normalise(window) for of_clip in served for window in of_clip]
    assert len(heard) == len(expected)
    np.testing.assert_allclose(heard, expected, atol=1e-5)
