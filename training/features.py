"""A clip becomes the model's inputs: decoded by the service's front end, cut or filled to the window, extracted."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import Wav2Vec2FeatureExtractor

from service.audio import Waveform, fill, open_audio
from training.data import open_clip
from training.model import window_samples

Batch = dict[str, list[Any]]


def training_features(
    extractor: Wav2Vec2FeatureExtractor, *, window_s: float, random_crop: bool
) -> Callable[[Batch], Batch]:
    """A `datasets` transform for training: the clip's beginning, or a window drawn anew each time."""
    return lambda batch: _features(batch, extractor, window_s, random_crop=random_crop)


def evaluation_features(extractor: Wav2Vec2FeatureExtractor, *, window_s: float) -> Callable[[Batch], Batch]:
    """A `datasets` transform for evaluation: the clip's beginning, cut or filled as the service does it."""
    return lambda batch: _features(batch, extractor, window_s, random_crop=False)


def _features(batch: Batch, extractor: Wav2Vec2FeatureExtractor, window_s: float, *, random_crop: bool) -> Batch:
    sampling_rate = extractor.sampling_rate
    samples = window_samples(extractor, window_s)
    waveforms = [
        fill(_read(audio, window_s, sampling_rate, random_crop=random_crop), samples) for audio in batch["audio"]
    ]
    inputs = extractor(waveforms, sampling_rate=sampling_rate, max_length=samples, truncation=True)
    return {**inputs, "labels": batch["genre"]}


def _read(audio: dict[str, Any], window_s: float, sampling_rate: int, *, random_crop: bool) -> Waveform:
    with open_audio(open_clip(audio)) as file:
        spare_s = max(0.0, file.duration_s - window_s)
        # torch's generator: the Trainer seeds it, and restores it when a run is resumed.
        start_s = float(torch.rand(())) * spare_s if random_crop else 0.0
        return file.read(start_s, window_s, sampling_rate)
