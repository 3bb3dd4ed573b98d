"""Reads a local model folder into an `Artefact`. Every default for a missing field is decided here."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from service.audio import WindowSpec
from service.errors import StartupError
from service.model.calibration import Float, calibrated_probabilities
from service.model.extractor import read_extractor, read_json
from service.model.familiarity import Familiarity
from service.model.layout import CONFIG, GOLDEN_FOLDER, GRAPH_FOLDER, SERVING, WEIGHTS
from service.model.serving_file import Golden, Reference, ServingFile, TrainedOn, sha256

DEFAULT_WINDOW_S = 30.0
"""Used for a repo that names no length: GTZAN's clips have it, and published models are trained on it."""

DEFAULT_TEMPERATURE = 1.0
"""Used for a repo without calibration: leaves the softmax as it is."""

DEFAULT_CONFIDENCE_THRESHOLD = 0.5
"""Used for a repo without calibration: below one half, the other genres together are more probable."""

_MULTI_LABEL = "multi_label_classification"


@dataclass(frozen=True)
class Artefact:
    """Everything that serving must know of a model.

    labels: in the order of the logits. thresholds: the probability from which on each label is told, for a model that
    tells several genres of one recording; None for a model that tells one.
    do_normalize: windows get zero mean and unit variance.
    temperature: divides the logits. confidence_threshold: in 0..1; a best score below it makes a decision `uncertain`.
    trained_on: None when the repo does not say. graphs: the SHA-256 of each exported file, by its path in the folder;
    empty when the repo does not say. golden: None when the repo has no golden clips.
    reference: answers to held-out recordings; None when the repo does not say. familiarity: what known music looks
    like; None when the repo does not say.
    defaulted_fields: names, as in serving.json, of the fields that the repo does not say.
    """

    folder: Path
    model_id: str
    revision: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...] | None
    window: WindowSpec
    do_normalize: bool
    temperature: float
    confidence_threshold: float
    trained_on: TrainedOn | None
    graphs: Mapping[str, str]
    golden: Golden | None
    reference: Reference | None
    familiarity: Familiarity | None
    defaulted_fields: tuple[str, ...]

    def probabilities(self, logits: npt.NDArray[Float]) -> npt.NDArray[Float]:
        """Calibrated probabilities of logits (n, labels)."""
        return calibrated_probabilities(logits, self.temperature, is_multi_label=self.thresholds is not None)


def read_artefact(folder: Path, *, model_id: str, revision: str | None) -> Artefact:
    """Read the files of a model repo beside its weights.

    revision: the commit; None for a local folder, which is then named by a hash of its model files.
    Raises StartupError, which names the file at fault, when a file is missing or says what cannot be served.
    """
    _check_readable(folder)
    config = read_json(folder, CONFIG)
    extractor = read_extractor(folder)
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise StartupError(
            f"{model_id} holds no model.safetensors. Save the model with save_pretrained and push it again."
        )
    _check_weights(folder)
    serving = _read_serving(folder)
    window_s = serving.window_s or extractor.window_s
    labels = _labels(config)
    confidence_threshold = _or_default(serving.confidence_threshold, DEFAULT_CONFIDENCE_THRESHOLD)
    declared = {
        "window_s": window_s,
        "temperature": serving.temperature,
        "uncertain_below": serving.confidence_threshold,
    }
    return Artefact(
        folder=folder,
        model_id=model_id,
        revision=revision or _content_hash(folder),
        labels=labels,
        thresholds=_thresholds(config, serving, labels, confidence_threshold),
        window=WindowSpec(extractor.sampling_rate, window_s or DEFAULT_WINDOW_S),
        do_normalize=extractor.do_normalize,
        temperature=serving.temperature or DEFAULT_TEMPERATURE,
        confidence_threshold=confidence_threshold,
        trained_on=serving.trained_on,
        graphs=serving.graphs,
        golden=serving.golden,
        reference=serving.reference,
        familiarity=Familiarity.load(folder, serving.familiarity) if serving.familiarity else None,
        defaulted_fields=tuple(name for name, value in declared.items() if value is None),
    )


def _or_default(value: float | None, default: float) -> float:
    # Not `or`, as a threshold of zero is a value.
    return default if value is None else value


def _check_readable(folder: Path) -> None:
    # safetensors files are made for their owner alone, and a container runs as another user.
    files = [path for path in folder.iterdir() if path.suffix in {".json", ".safetensors"}]
    folders = [folder / name for name in (GRAPH_FOLDER, GOLDEN_FOLDER) if (folder / name).is_dir()]
    for path in [*files, *folders, *(file for inner in folders for file in inner.rglob("*"))]:
        if not os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK):
            name = path.relative_to(folder)
            raise StartupError(f"The service may not read {name} of the model folder. Allow it: chmod -R a+rX.")


def _check_weights(folder: Path) -> None:
    """Read the headers of the weights, which tell whether a file is whole: OpenVINO's graphs have weights of their own,
    so that nothing else would look at these."""
    for path in sorted(folder.glob("model*.safetensors")):
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError):
            raise StartupError(f"{path.name} of the model repo is damaged or cut off. Push the model again.") from None


def _read_serving(folder: Path) -> ServingFile:
    if not (folder / SERVING).is_file():
        return ServingFile(schema_version=1)
    try:
        return ServingFile.model_validate(read_json(folder, SERVING))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise StartupError(
            f"serving.json of the model repo: {field}: {first['msg']}. Update the service, or push the model again."
        ) from None


def _labels(config: dict[str, Any]) -> tuple[str, ...]:
    id2label = config.get("id2label")
    if config.get("problem_type") == "regression":
        raise StartupError("config.json names a regression. MODEL_ID must name a classification model.")
    least = 1 if config.get("problem_type") == _MULTI_LABEL else 2
    if (
        not isinstance(id2label, dict)
        or sorted(id2label) != sorted(map(str, range(len(id2label))))
        or len(id2label) < least
    ):
        raise StartupError("config.json holds no usable id2label. MODEL_ID must name a classification model.")
    return tuple(str(id2label[str(index)]) for index in range(len(id2label)))


def _thresholds(
    config: dict[str, Any], serving: ServingFile, labels: tuple[str, ...], default: float
) -> tuple[float, ...] | None:
    if config.get("problem_type") != _MULTI_LABEL:
        return None
    thresholds = serving.thresholds or {}
    if unknown := thresholds.keys() - set(labels):
        raise StartupError(f"serving.json of the model repo: thresholds: {min(unknown)} is no label of the model.")
    return tuple(thresholds.get(label, default) for label in labels)


def _content_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".json", ".safetensors"}:
            digest.update(path.name.encode())
            digest.update(bytes.fromhex(sha256(path)))
    return f"local-{digest.hexdigest()[:12]}"
