"""The contract with training: a local model folder becomes an `Artefact`. Every default is decided here."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.audio import MIN_DURATION_S, WindowSpec
from service.errors import StartupError

DEFAULT_WINDOW_S = 30.0
"""For a repo that names no length: what GTZAN's clips have, and published models of the kind are trained on."""

DEFAULT_UNCERTAIN_BELOW = 0.5
"""For a repo without calibration: below one half, the other genres together are more probable."""

# The feature extractor of every model that takes the waveform itself.
_WAVEFORM_EXTRACTOR = "Wav2Vec2FeatureExtractor"

# A shorter window would leave out audio that is long enough; a longer one would hold hundreds of megabytes.
_MIN_WINDOW_S = MIN_DURATION_S
_MAX_WINDOW_S = 600.0


@dataclass(frozen=True)
class Artefact:
    """What serving must know of a model.

    labels: in the order of the logits. do_normalize: windows get zero mean and unit variance.
    temperature: divides the logits. uncertain_below: in 0..1. graphs: the SHA-256 of each exported file, by its path in
    the folder; empty when the repo does not say.
    defaulted: names of the fields that the repo does not say.
    """

    folder: Path
    model_id: str
    revision: str
    labels: tuple[str, ...]
    window: WindowSpec
    do_normalize: bool
    temperature: float
    uncertain_below: float
    graphs: Mapping[str, str]
    defaulted: tuple[str, ...]


class _ServingFile(BaseModel):
    """serving.json, version 1. Fields of later minor additions are ignored; a changed meaning raises the version."""

    model_config = ConfigDict(extra="ignore")

    schema_version: Literal[1]
    window_s: float | None = Field(None, ge=_MIN_WINDOW_S, le=_MAX_WINDOW_S)
    temperature: float | None = Field(None, gt=0, allow_inf_nan=False)
    uncertain_below: float | None = Field(None, ge=0, le=1)
    graphs: dict[str, str] = Field(default_factory=dict)


def read_artefact(folder: Path, *, model_id: str, revision: str | None) -> Artefact:
    """Read the files of a model repo beside its weights.

    revision: the commit; None for a local folder, which is then named by a hash of its model files.
    Raises StartupError, which names the file at fault, when a file is missing or says what cannot be served.
    """
    _check_readable(folder)
    config = _read_json(folder, "config.json")
    extractor = _read_json(folder, "preprocessor_config.json")
    if not (folder / "model.safetensors").is_file() and not (folder / "model.safetensors.index.json").is_file():
        raise StartupError(
            f"{model_id} holds no model.safetensors. Save the model with save_pretrained and push it again."
        )
    serving = _read_serving(folder) if (folder / "serving.json").is_file() else _ServingFile(schema_version=1)
    _check_hears_waveforms(extractor)
    sampling_rate = _sampling_rate(extractor)
    window_s = serving.window_s or _stored_window_s(extractor, sampling_rate)
    said: dict[str, Any] = {
        "temperature": serving.temperature,
        "uncertain_below": serving.uncertain_below,
    }
    defaults: dict[str, Any] = {
        "temperature": 1.0,
        "uncertain_below": DEFAULT_UNCERTAIN_BELOW,
    }
    return Artefact(
        folder=folder,
        model_id=model_id,
        revision=revision or _content_hash(folder),
        labels=_labels(config),
        window=WindowSpec(sampling_rate, window_s or DEFAULT_WINDOW_S),
        do_normalize=bool(extractor.get("do_normalize", True)),
        graphs=serving.graphs,
        **{name: default if said[name] is None else said[name] for name, default in defaults.items()},
        defaulted=(() if window_s else ("window_s",)) + tuple(name for name in defaults if said[name] is None),
    )


def _check_readable(folder: Path) -> None:
    """save_pretrained writes weights that only their owner may read; in a container that is somebody else."""
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


def _read_serving(folder: Path) -> _ServingFile:
    try:
        return _ServingFile.model_validate(_read_json(folder, "serving.json"))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise StartupError(
            f"serving.json of the model repo: {field}: {first['msg']}. Update the service, or push the model again."
        ) from None


def _sampling_rate(extractor: dict[str, Any]) -> int:
    rate = extractor.get("sampling_rate")
    if not isinstance(rate, int) or not 1_000 <= rate <= 192_000:
        raise StartupError("preprocessor_config.json names no usable sampling_rate. MODEL_ID must name an audio model.")
    return rate


def _check_hears_waveforms(extractor: dict[str, Any]) -> None:
    """Others turn the waveform into a spectrogram of their own kind first."""
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
    if type(samples) is not int or not _MIN_WINDOW_S <= samples / sampling_rate <= _MAX_WINDOW_S:
        raise StartupError(
            "preprocessor_config.json names no usable max_length. It must be "
            f"{_MIN_WINDOW_S:g} to {_MAX_WINDOW_S:g} s of samples, or be left out."
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
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"local-{digest.hexdigest()[:12]}"
