"""The output folder of a run: which settings it belongs to, and the last checkpoint that can be resumed."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from training.arguments import DataArguments
from training.errors import TrainingError

MODEL_FOLDER = "model"
"""Folder of the model that is pushed, in the output folder."""

HELD_OUT_FOLDER = "held-out"
"""The clips that a streaming run is evaluated on, in the output folder."""

_RUN_FILE = "run.json"
_CLIPS_FILE = "clips.json"


def lock_settings(output_dir: Path, settings: dict[str, Any]) -> None:
    """Mark the folder as this run's. Raises TrainingError when it holds a run with other settings: its checkpoints
    would otherwise be continued as if they were this run's own."""
    path = output_dir / _RUN_FILE
    # A command that failed before it had its clips leaves nothing that could be continued.
    has_begun = (output_dir / _CLIPS_FILE).is_file() or any(output_dir.glob("**/checkpoint-*"))
    if path.is_file() and has_begun:
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [
            f"{name} was {before.get(name)}, now {value}"
            for name, value in settings.items()
            if before.get(name, value) != value
        ]
        if changed:
            raise TrainingError(
                f"{output_dir} holds a run with other settings ({'; '.join(changed)}). Choose another --output_dir, or "
                "remove that one."
            )
    output_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def lock_clips(output_dir: Path, digests: Sequence[str]) -> None:
    """Tie the folder to these clips, by the hashes of their files. Raises TrainingError when its run began with others:
    they are split anew, so that clips which its checkpoints were trained on would test it."""
    path = output_dir / _CLIPS_FILE
    found = {"clips": len(digests), "sha256": hashlib.sha256("\n".join(digests).encode()).hexdigest()}
    if path.is_file() and (before := json.loads(path.read_text(encoding="utf-8"))) != found:
        raise TrainingError(
            f"The clips are not those that the run in {output_dir} began with ({before['clips']} then, "
            f"{len(digests)} now). Choose another --output_dir, or remove that one."
        )
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def settings(output_dir: Path) -> tuple[DataArguments, int]:
    """The data options of a run, and the seed that split its clips. Raises TrainingError."""
    try:
        stored = json.loads((output_dir / _RUN_FILE).read_text(encoding="utf-8"))
        return DataArguments(**{field.name: stored[field.name] for field in fields(DataArguments)}), stored["seed"]
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{output_dir} holds no training run of this version. Train again.") from error


def last_checkpoint(output_dir: Path) -> Path | None:
    """The newest complete checkpoint. One that a kill left half written is removed."""
    checkpoints = sorted(output_dir.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True)
    for checkpoint in checkpoints:
        if _is_complete(checkpoint):
            return checkpoint
        shutil.rmtree(checkpoint)
    return None


def _is_complete(checkpoint: Path) -> bool:
    """The Trainer writes its state last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return True
