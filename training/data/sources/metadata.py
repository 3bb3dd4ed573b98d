"""Labels clips by the table that lies beside them: `metadata.csv`, `.jsonl` or `.parquet` with a column `file_name`."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from training.arguments import DataArguments
from training.data.sources.clip_source import Member
from training.data.sources.columns import ARTIST_COLUMN, wanted_parts
from training.data.sources.genres import find_genre_column, genre_name
from training.data.sources.layout import Tree, is_part_name, label_by_folders
from training.errors import TrainingError

_READERS: Mapping[str, Callable[[io.BytesIO], pa.Table]] = {
    "metadata.csv": pyarrow.csv.read_csv,
    "metadata.jsonl": pyarrow.json.read_json,
    "metadata.parquet": pyarrow.parquet.read_table,
}

_FILE_COLUMN = "file_name"

ReadFile = Callable[[PurePosixPath], bytes]
"""Reads a file of a tree whole."""


def is_metadata(name: PurePosixPath) -> bool:
    """Whether a file is such a table."""
    return name.name in _READERS


def label(tree: Tree, tables: Sequence[PurePosixPath], read: ReadFile, arguments: DataArguments) -> list[Member]:
    """The clips of a tree with their genres, from the tables where these tell genres, otherwise from the folders.

    Only the parts that `--dataset_split` names. Raises TrainingError.
    """
    rows = [(table, row) for table in tables for row in _rows(table, read)]
    columns = list(dict.fromkeys(column for _, row in rows for column in row))
    genre = find_genre_column(columns, arguments.genre_column)
    if genre is not None and _FILE_COLUMN in columns:
        labelled = _label_by_tables(tree, rows, genre)
    elif arguments.genre_column is not None or arguments.audio_column is not None:
        raise TrainingError(
            f"{tree.name} has " + (f"the columns {', '.join(columns)}" if columns else "folders and no columns") + ". "
            "Leave out --audio_column and --genre_column, or name columns there are."
        )
    else:
        labelled = label_by_folders(tree)
    return _chosen(tree.name, labelled, arguments.dataset_split)


def _rows(table: PurePosixPath, read: ReadFile) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = _READERS[table.name](io.BytesIO(read(table))).to_pylist()
    except pa.ArrowException as error:
        raise TrainingError(f"{table} cannot be read: {str(error).splitlines()[0]}") from error
    return rows


def _label_by_tables(
    tree: Tree, rows: Sequence[tuple[PurePosixPath, dict[str, Any]]], genre_column: str
) -> list[tuple[Member, str]]:
    clips = set(tree.clips)
    labelled = []
    for number, (table, row) in enumerate(rows):
        file = table.parent / str(row.get(_FILE_COLUMN) or "")
        name = f"row {number} of {table.name}"
        try:
            genre = genre_name(row.get(genre_column), names=None)
        except TrainingError as error:
            raise TrainingError(f"{tree.name}: {name} {error}") from error
        part = next((folder for folder in file.parts[:-1] if is_part_name(folder)), "")
        # A number may be the artist's, and 0 one of them.
        artist = None if row.get(ARTIST_COLUMN) is None else str(row[ARTIST_COLUMN]).strip() or None
        if genre is None:
            labelled.append((Member("", name, None, problem="has no genre"), part))
        elif file not in clips:
            labelled.append((Member("", name, None, problem=f"names {file}, which is not there"), part))
        else:
            labelled.append((Member(str(file), str(file), genre, artist), part))
    return labelled


def _chosen(name: str, labelled: Sequence[tuple[Member, str]], wanted: str | None) -> list[Member]:
    if wanted is None:
        return [member.in_utf8() for member, _ in labelled]
    parts = wanted_parts(name, sorted({part for _, part in labelled if part}), wanted)
    return [member.in_utf8() for member, part in labelled if part in parts]
