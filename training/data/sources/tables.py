"""Opens data sets with columns: made by `save_to_disk`, parquet and other tables in a folder, and those on the Hub."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from training.arguments import DataArguments
from training.data.sources.clip_source import MAX_CLIP_BYTES
from training.data.sources.columns import TableSource
from training.errors import TrainingError, is_full

_FORMATS: Mapping[str, str] = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".jsonl": "json",
    ".json": "json",
    ".csv": "csv",
}
"""The loader of `datasets` for each suffix, the best one first."""

# Files that `datasets` and the Hub write beside tables, and those of folders of audio.
_NO_TABLES = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json"}
_SAVED = ("dataset_dict.json", "state.json")
# Parts of a stream of tables on this disk, for readers to share.
_SHARDS = 64
_SHARD_NUMBER = re.compile(r"[-_.]?\d+(-of-\d+)?$")


@dataclass(frozen=True)
class LocalFiles:
    """Reads the files that rows of a local table name, beside the table or anywhere on this machine."""

    root: str

    def __call__(self, name: str) -> bytes | None:
        """The content of a file; None when it is not there or too large for a clip."""
        path = Path(self.root, name)
        try:
            return path.read_bytes() if path.is_file() and path.stat().st_size <= MAX_CLIP_BYTES else None
        except OSError:
            return None

    def state(self, name: str) -> str:
        """Size and time of a file; only its name when it is not there."""
        try:
            status = Path(self.root, name).stat()
        except (OSError, ValueError):
            return name
        return f"{name} {status.st_size} {status.st_mtime_ns}"


def is_table(name: str) -> bool:
    """Whether a file is a table by its name, and not one that describes other files."""
    path = Path(name)
    return path.suffix.lower() in _FORMATS and path.name not in _NO_TABLES and path.stem != "metadata"


def is_saved(names: Sequence[str]) -> bool:
    """Whether a folder with these files was made by `save_to_disk`."""
    return any(name in names for name in _SAVED)


def saved_tables(root: Path, arguments: DataArguments, *, streaming: bool) -> TableSource:
    """A folder that was made by `save_to_disk`. Raises TrainingError."""
    with table_errors_explained(root.name):
        loaded = datasets.load_from_disk(str(root))
    parts = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    if streaming:
        parts = {name: part.to_iterable_dataset(max(1, min(_SHARDS, len(part)))) for name, part in parts.items()}
    return TableSource(root.name, parts, arguments, LocalFiles(str(root)))


def file_tables(root: Path, files: Sequence[Path], arguments: DataArguments, *, streaming: bool) -> TableSource:
    """Tables in files below a folder: those of the best format there is, in parts by their names."""
    suffix = next(suffix for suffix in _FORMATS if any(file.suffix.lower() == suffix for file in files))
    parts: dict[str, list[str]] = defaultdict(list)
    for file in files:
        if file.suffix.lower() == suffix:
            parts[_part_name(file.relative_to(root))].append(str(file))
    with table_errors_explained(root.name):
        loaded = datasets.load_dataset(_FORMATS[suffix], data_files=dict(parts), streaming=streaming)
    return TableSource(root.name, dict(loaded), arguments, LocalFiles(str(root)))


@contextmanager
def table_errors_explained(name: str) -> Iterator[None]:
    """Turn what `datasets` says of tables that it cannot read into a TrainingError of one line."""
    try:
        yield
    except (
        datasets.exceptions.DatasetsError,
        pa.ArrowException,
        ValueError,
        KeyError,
        TypeError,
        ImportError,
    ) as error:
        if is_full(error):
            raise
        raise TrainingError(f"{name} cannot be read as a data set: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    """The line of the first cause: `datasets` wraps it in words of its own."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines: list[Any] = str(error).strip().splitlines() or [type(error).__name__]
    return str(lines[0])


def _part_name(file: Path) -> str:
    """`train` for train-00000-of-00002.parquet, and for train/0000.parquet."""
    name = _SHARD_NUMBER.sub("", file.stem) or file.parent.name or "train"
    return re.sub(r"\W+", "_", name)
