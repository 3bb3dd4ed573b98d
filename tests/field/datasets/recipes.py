"""Makes small data sets in the shapes that people have, and reads them stored and streamed."""

import io
import shutil
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from tests.support.audio_files import encode, sweep
from tests.support.hub_stand_in import HubStandIn
from training.arguments import DataArguments
from training.data.artists import clip_names
from training.data.clips import load_clips
from training.data.streaming import stream_clips

Files = dict[str, bytes]

# datasets waits 5 s at the end of each stream of a table, in case the process ends while Arrow's threads still work.
datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0.5


@dataclass(frozen=True)
class Found:
    """The clips of each genre, and what was left out."""

    genres: dict[str, int]
    skipped: tuple[str, ...]


@cache
def clip(number: int) -> bytes:
    """A clip of its own: no two are the same file."""
    return encode(sweep(1, 8_000) * np.float32(1 - number / 200), "wav", 8_000)


def clips(*names: str) -> Files:
    """A file for each name, each with content of its own."""
    return {name: clip(number) for number, name in enumerate(names)}


def tree(*folders: str, count: int = 2) -> Files:
    """So many clips in each folder."""
    return clips(*(f"{folder}/{number}.wav" for folder in folders for number in range(count)))


def write(root: Path, files: Files) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def zipped(files: Files) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(files: Files) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def pushed(hub: HubStandIn, name: str, files: Files) -> str:
    """A data set repo with these files; its id."""
    repo_id = f"field/{name}"
    hub.create_repo(repo_id, repo_type="dataset")
    hub.commit(repo_id, dict(files), repo_type="dataset")
    return repo_id


PLACES: Mapping[str, Callable[[Path, HubStandIn, Files], str]] = {
    "folder": lambda path, hub, files: str(write(path / "music", files)),
    "zip": lambda path, hub, files: str(write(path, {"music.zip": zipped(files)}) / "music.zip"),
    "tar": lambda path, hub, files: str(write(path, {"music.tar.gz": tarred(files)}) / "music.tar.gz"),
    "hub": lambda path, hub, files: pushed(hub, path.name, files),
    "hub-zip": lambda path, hub, files: pushed(hub, path.name, {"README.md": b"#", "data.zip": zipped(files)}),
}
"""Where the same files may lie. A repo is named after the test's folder, which is another for each test."""


def table(columns: Mapping[str, list[object]], features: Mapping[str, object]) -> bytes:
    """A parquet file as `push_to_hub` writes it, without the libraries that encode audio."""
    schema = datasets.Features(features).arrow_schema
    file = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pydict(dict(columns), schema=schema), file)
    return file.getvalue()


def cell(number: int) -> dict[str, object]:
    """An audio cell."""
    return {"bytes": clip(number), "path": f"{number}.wav"}


def read(dataset: str, folder: Path, *, streaming: bool, **options: str) -> Found:
    """The data set as a training run would have it. Raises TrainingError."""
    arguments = DataArguments(dataset=dataset, streaming=streaming, max_duration_s=1, **options)  # type: ignore[arg-type]
    if not streaming:
        loaded = load_clips(arguments)
        # By its name each is drawn for a side of the split.
        assert len(set(clip_names(loaded.dataset))) == len(loaded.dataset)
        names = [loaded.genres[genre] for genre in loaded.dataset["genre"]]
        return Found(dict(Counter(names)), loaded.skipped)
    shutil.rmtree(folder / "held-out", ignore_errors=True)
    loaded, split = stream_clips(arguments, folder / "held-out", seed=1)
    assert split.stream is not None
    trained = [clip["genre"] for _, clip in split.stream.epoch(0)]
    names = [loaded.genres[genre] for genre in [*trained, *loaded.dataset["genre"]]]
    return Found(dict(Counter(names)), loaded.skipped)
