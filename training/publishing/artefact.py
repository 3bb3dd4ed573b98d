"""The model folder that is pushed: everything that serving must know, and nothing that it must not."""

import hashlib
import json
from pathlib import Path

from transformers import PreTrainedModel, Wav2Vec2FeatureExtractor

SCHEMA_VERSION = 1
"""Of serving.json. Raise it when a field changes its meaning; the service refuses versions that it does not know."""


def save(
    folder: Path,
    model: PreTrainedModel,
    extractor: Wav2Vec2FeatureExtractor,
    *,
    window_s: float,
    temperature: float,
    uncertain_below: float,
) -> None:
    """Write model, extractor and serving.json. Called on one process only.

    Not `Trainer.save_model`, which adds training_args.bin: a pickle with settings of this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    # Weights are saved for their owner alone, but served by somebody else.
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)
    extractor.save_pretrained(folder)
    serving = {
        "schema_version": SCHEMA_VERSION,
        "window_s": window_s,
        "temperature": temperature,
        "uncertain_below": uncertain_below,
    }
    (folder / "serving.json").write_text(json.dumps(serving, indent=2) + "\n", encoding="utf-8")


def stamp_graphs(folder: Path) -> None:
    """Write the checksums of the exported graphs into serving.json: the service runs no others."""
    path = folder / "serving.json"
    serving = json.loads(path.read_text(encoding="utf-8"))
    serving["graphs"] = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted((folder / "openvino").iterdir())
    }
    path.write_text(json.dumps(serving, indent=2) + "\n", encoding="utf-8")
