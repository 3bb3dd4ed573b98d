"""The stock way: transformers' audio-classification pipeline, as its documentation shows it."""

import io
from collections.abc import Callable
from typing import Any

import soundfile
import soxr
from transformers import pipeline

from tests.benchmarks.model import SAMPLING_RATE, WINDOW_S


def stock_classifier(folder: str) -> Callable[[bytes], list[dict[str, Any]]]:
    """From an audio file's bytes to `[{"label", "score"}]`, eager and in float32.

    The pipeline resamples only with torchaudio and cuts nothing: both happen here, as everyone has to do it.
    """
    classify = pipeline("audio-classification", model=folder, device="cpu")

    def classifier(data: bytes) -> list[dict[str, Any]]:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        waveform = soxr.resample(samples.mean(axis=1), rate, SAMPLING_RATE)[: round(WINDOW_S * SAMPLING_RATE)]
        scores: list[dict[str, Any]] = classify(waveform)
        return scores

    return classifier
