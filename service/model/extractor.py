"""Reads the feature extractor of a model repo: how a waveform becomes the model's input."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.errors import StartupError
from service.model.layout import FEATURE_EXTRACTOR, PROCESSOR
from service.model.serving_file import MAX_WINDOW_S, MIN_WINDOW_S

# The feature extractor of every model that takes the waveform itself.
_WAVEFORM_EXTRACTOR = "Wav2Vec2FeatureExtractor"


@dataclass(frozen=True)
class Extractor:
    """What serving needs of a feature extractor.

    sampling_rate: Hz. do_normalize: windows get zero mean and unit variance. window_s: the length that training cut its
    clips to; None when it is not stored.
    """

    sampling_rate: int
    do_normalize: bool
    window_s: float | None


def read_extractor(folder: Path) -> Extractor:
    """Read preprocessor_config.json, or the part of processor_config.json that stands for it.

    Raises StartupError, which names the file at fault.
    """
    name, values = _find(folder)
    _check_takes_waveforms(name, values)
    sampling_rate = _sampling_rate(name, values)
    return Extractor(sampling_rate, bool(values.get("do_normalize", True)), _window_s(name, values, sampling_rate))


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Read a JSON object of a model folder. Raises StartupError."""
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StartupError(
            f"The model repo holds no {name}. MODEL_ID must name an audio classification model."
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise StartupError(f"{name} of the model repo is not JSON. Push the model again.") from None
    if not isinstance(content, dict):
        raise StartupError(f"{name} of the model repo is not a JSON object. Push the model again.")
    return content


def _find(folder: Path) -> tuple[str, dict[str, Any]]:
    """The file that describes the feature extractor, and its description."""
    if not (folder / FEATURE_EXTRACTOR).is_file() and (folder / PROCESSOR).is_file():
        values = read_json(folder, PROCESSOR).get("feature_extractor")
        if isinstance(values, dict):
            return PROCESSOR, values
    return FEATURE_EXTRACTOR, read_json(folder, FEATURE_EXTRACTOR)


def _sampling_rate(name: str, extractor: dict[str, Any]) -> int:
    rate = extractor.get("sampling_rate")
    if not isinstance(rate, int) or not 1_000 <= rate <= 192_000:
        raise StartupError(f"{name} names no usable sampling_rate. MODEL_ID must name an audio model.")
    return rate


def _check_takes_waveforms(name: str, extractor: dict[str, Any]) -> None:
    # Other extractors turn the waveform into a spectrogram of their own kind first.
    kind = extractor.get("feature_extractor_type", _WAVEFORM_EXTRACTOR)
    if kind != _WAVEFORM_EXTRACTOR or extractor.get("feature_size", 1) != 1:
        raise StartupError(
            f"{name} names the feature extractor {kind}, which this service cannot run. "
            "MODEL_ID must name a HuBERT, wav2vec2, WavLM or similar model."
        )


def _window_s(name: str, extractor: dict[str, Any], sampling_rate: int) -> float | None:
    samples = extractor.get("max_length")
    if samples is None:
        return None
    if type(samples) is not int or not MIN_WINDOW_S <= samples / sampling_rate <= MAX_WINDOW_S:
        raise StartupError(
            f"{name} names no usable max_length. It must be "
            f"{MIN_WINDOW_S:g} to {MAX_WINDOW_S:g} s of samples, or be left out."
        )
    return samples / sampling_rate
