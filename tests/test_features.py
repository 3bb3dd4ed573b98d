import io

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from service.audio import open_audio
from tests.audio_files import encode, sweep
from training.features import evaluation_features, training_features


@pytest.fixture(scope="module")
def extractor() -> Wav2Vec2FeatureExtractor:
    return Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)


def _batch(duration_s: float, format: str = "wav") -> dict[str, list[object]]:
    return {"audio": [{"bytes": encode(sweep(duration_s), format), "path": "jazz/a.wav"}], "genre": [3]}


def test_evaluation_sees_the_beginning_as_the_service_reads_it(extractor: Wav2Vec2FeatureExtractor) -> None:
    batch = _batch(5, "mp3")
    features = evaluation_features(extractor, window_s=2)(batch)
    with open_audio(io.BytesIO(encode(sweep(5), "mp3"))) as audio:
        waveform = audio.read(0, 2, 16_000)
    expected = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
    np.testing.assert_allclose(features["input_values"][0], expected, atol=1e-5)
    assert features["attention_mask"][0].tolist() == [1] * 32_000
    assert features["labels"] == [3]


def test_a_short_clip_is_repeated_to_the_window(extractor: Wav2Vec2FeatureExtractor) -> None:
    values = evaluation_features(extractor, window_s=2)(_batch(0.5))["input_values"][0]
    assert values.shape == (32_000,)
    np.testing.assert_allclose(values[:8_000], values[8_000:16_000], atol=1e-6)


def test_random_crops_differ_and_follow_the_seed(extractor: Wav2Vec2FeatureExtractor) -> None:
    features = training_features(extractor, window_s=1, random_crop=True)
    batch = _batch(10)
    torch.manual_seed(0)
    first, second = (features(batch)["input_values"][0] for _ in range(2))
    torch.manual_seed(0)
    again = features(batch)["input_values"][0]
    assert not np.allclose(first, second, atol=0.1)
    np.testing.assert_array_equal(first, again)


def test_without_random_crops_training_sees_what_evaluation_sees(extractor: Wav2Vec2FeatureExtractor) -> None:
    batch = _batch(3)
    training = training_features(extractor, window_s=1, random_crop=False)(batch)
    evaluation = evaluation_features(extractor, window_s=1)(batch)
    np.testing.assert_array_equal(training["input_values"][0], evaluation["input_values"][0])
