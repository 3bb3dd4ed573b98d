"""A model folder as training writes it, graphs and golden clips included, around random weights."""

import json
import shutil
from pathlib import Path
from typing import Any


def save(folder: Path, genres: tuple[str, ...]) -> None:
    """Write the folder; windows of 2 s. The temperature makes the scores of random weights differ much."""
    # Imported late: huggingface_hub reads HF_ENDPOINT when it is imported, and conftest sets it after importing this.
    from service.model.serving_file import ServingFile
    from tests.support import tiny_model
    from training.publishing import artefact, golden

    tiny_model.save(folder, genres)
    ServingFile(schema_version=1, window_s=2.0, temperature=0.005, confidence_threshold=0.3).write(folder)
    artefact.export_graphs(folder)
    golden.write(folder)


def copy(folder: Path, to: Path, **serving: Any) -> Path:
    """A copy of the folder whose serving.json has other fields."""
    shutil.copytree(folder, to)
    change(to / "serving.json", **serving)
    return to


def change(file: Path, **fields: Any) -> None:
    """Set fields of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def files(folder: Path) -> dict[str, bytes]:
    """The files of a model folder by their paths, as a commit takes them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
