"""Folders of clips, and the arguments that name them."""

from pathlib import Path

from tests.support import gtzan
from training.arguments import DataArguments


def _write_folder(root: Path, clips: dict[str, bytes]) -> Path:
    for name, content in clips.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def _two_genres() -> dict[str, bytes]:
    return {
        f"genres_original/{genre}/{genre}.0000{seed}.wav": gtzan.clip(genre, seed)
        for genre in ("jazz", "metal")
        for seed in range(2)
    }


def _arguments(dataset: str | Path, revision: str = "main") -> DataArguments:
    return DataArguments(dataset=str(dataset), dataset_revision=revision, max_duration_s=1)
