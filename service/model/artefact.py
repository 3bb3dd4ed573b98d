"""Reads a local model folder into an `Artefact`. Every default for a missing field is decided here."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from service.audio import WindowSpec
from service.errors import StartupError
from service.model.layout import CONFIG, FEATURE_EXTRACTOR, SERVING, WEIGHTS
from service.model.serving_file import (
    MAX_WINDOW_S,
    MIN_WINDOW_S,
    ServingFile,
    TrainedOn,
    sha256,
)

DEFAULT_WINDOW_S = 30.0
"""Used for a repo that names no length: GTZAN's clips have it, and published models are trained on it."""

DEFAULT_TEMPERATURE = 1.0
"""Used for a repo without calibration: leaves the softmax as it is."""

DEFAULT_CONFIDENCE_THRESHOLD = 0.5
"""Used for a repo without calibration: below one half, the other genres together are more probable."""

# The feature extractor of every model that takes the waveform itself.
_WAVEFORM_EXTRACTOR = "Wav2Vec2FeatureExtractor"


@dataclass(frozen=True)
class Artefact:
    """Everything that serving must know of a model.

    labels: in the order of the logits. do_normalize: windows get zero mean and unit variance.
    temperature: divides the logits. confidence_threshold: in 0..1; a best score below it makes a decision `uncertain`.
    trained_on: None when the repo does not say. graphs: the SHA-256 of each exported file, by its path in the folder;
    empty when the repo does not say.
    defaulted_fields: names, as in serving.json, of the fields that the repo does not say.
    """

    folder: Path
    model_id: str
    revision: str
    labels: tuple[str, ...]
    window: WindowSpec
    do_normalize: bool
    temperature: float
    confidence_threshold: float
    trained_on: TrainedOn | None
    graphs: Mapping[str, str]
    defaulted_fields: tuple[str, ...]


def read_artefact(folder: Path, *, model_id: str, revision: str | None) -> Artefact:
    """Read the files of a model repo beside its weights.

    revision: the commit; None for a local folder, which is then named by a hash of its model files.
    Raises StartupError, which names the file at fault, when a file is missing or says what cannot be served.
    """
    _check_readable(folder)
    config = _read_json(folder, CONFIG)
    extractor = _read_json(folder, FEATURE_EXTRACTOR)
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise StartupError(
            f"{model_id} holds no model.safetensors. Save the model with save_pretrained and push it again."
        )
    serving = _read_serving(folder)
    _check_takes_waveforms(extractor)
    sampling_rate = _sampling_rate(extractor)
    window_s = serving.window_s or _stored_window_s(extractor, sampling_rate)
    declared = {
        "window_s": window_s,
        "temperature": serving.temperature,
        "uncertain_below": serving.confidence_threshold,
    }
    return Artefact(
        folder=folder,
        model_id=model_id,
        revision=revision or _content_hash(folder),
        labels=_labels(config),
        window=WindowSpec(sampling_rate, window_s or DEFAULT_WINDOW_S),
        do_normalize=bool(extractor.get("do_normalize", True)),
        temperature=serving.temperature or DEFAULT_TEMPERATURE,
        confidence_threshold=_or_default(serving.confidence_threshold, DEFAULT_CONFIDENCE_THRESHOLD),
        trained_on=serving.trained_on,
        graphs=serving.graphs,
        defaulted_fields=tuple(name for name, value in declared.items() if value is None),
    )


def _or_default(value: float | None, default: float) -> float:
    # Not `or`, as a threshold of zero is a value.
    return default if value is None else value


def _check_readable(folder: Path) -> None:
    # save_pretrained writes weights that only their owner may read, and a container runs as another user.
    for path in folder.iterdir():
        if path.suffix in {".json", ".safetensors"} and not os.access(path, os.R_OK):
            raise StartupError(f"The service may not read {path.name} of the model folder. Allow it: chmod a+r.")


def _read_json(folder: Path, name: str) -> dict[str, Any]:
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


def _read_serving(folder: Path) -> ServingFile:
    if not (folder / SERVING).is_file():
        return ServingFile(schema_version=1)
    try:
        return ServingFile.model_validate(_read_json(folder, SERVING))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise StartupError(
            f"serving.json of the model repo: {field}: {first['msg']}. Update the service, or push the model again."
        ) from None


def _sampling_rate(extractor: dict[str, Any]) -> int:
    rate = extractor.get("sampling_rate")
    if not isinstance(rate, int) or not 1_000 <= rate <= 192_000:
        raise StartupError("preprocessor_config.json names no usable sampling_rate. MODEL_ID must name an audio model.")
    return rate


def _check_takes_waveforms(extractor: dict[str, Any]) -> None:
    # Other extractors turn the waveform into a spectrogram of their own kind first.
    kind = extractor.get("feature_extractor_type", _WAVEFORM_EXTRACTOR)
    if kind != _WAVEFORM_EXTRACTOR or extractor.get("feature_size", 1) != 1:
        raise StartupError(
            f"preprocessor_config.json names the feature extractor {kind}, which this service cannot run. "
            "MODEL_ID must name a HuBERT, wav2vec2, WavLM or similar model."
        )


def _stored_window_s(extractor: dict[str, Any], sampling_rate: int) -> float | None:
    """The length that training cut its clips to; None when it is not stored."""
    samples = extractor.get("max_length")
    if samples is None:
        return None
    if type(samples) is not int or not MIN_WINDOW_S <= samples / sampling_rate <= MAX_WINDOW_S:
        raise StartupError(
            "preprocessor_config.json names no usable max_length. It must be "
            f"{MIN_WINDOW_S:g} to {MAX_WINDOW_S:g} s of samples, or be left out."
        )
    return samples / sampling_rate


def _labels(config: dict[str, Any]) -> tuple[str, ...]:
    id2label = config.get("id2label")
    if (
        not isinstance(id2label, dict)
        or sorted(id2label) != sorted(map(str, range(len(id2label))))
        or len(id2label) < 2
    ):
        raise StartupError("config.json holds no usable id2label. MODEL_ID must name a classification model.")
    return tuple(str(id2label[str(index)]) for index in range(len(id2label)))


def _content_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".safetensors"}:
            digest.update(path.name.encode())
            digest.update(bytes.fromhex(sha256(path)))
    return f"local-{digest.hexdigest()[:12]}"
