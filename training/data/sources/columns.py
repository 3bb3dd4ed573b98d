"""Turns tables with an audio column and a genre column into clips, whatever the columns are called and hold."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import datasets
import pyarrow.compute as pc

from training.arguments import DataArguments
from training.data.sources.clip_source import (
    AUDIO_BYTES,
    STREAMED_FEATURES,
    WRITER_BATCH,
    Example,
    FileReader,
    audio_paths,
    features,
)
from training.data.sources.genres import class_names, find_genre_column, genre_name, in_order
from training.errors import TrainingError

ARTIST_COLUMN = "artist"

_ROWS_IN_BATCH = 1_000


class Columns(NamedTuple):
    """The names of the columns that matter, and the class labels of the genre column (None: it has none)."""

    audio: str
    genre: str
    artist: str | None
    class_names: list[str] | None


@dataclass(frozen=True)
class TableSource:
    """Clips in the rows of tables.

    name: of the data set, for messages. parts: its tables by the name of the part. read: for rows that name a file.
    """

    name: str
    parts: Mapping[str, Any]
    arguments: DataArguments
    read: FileReader

    def store(self) -> datasets.Dataset:
        """The rows as clips; those that hold their audio are not copied. Raises TrainingError."""
        tables: list[datasets.Dataset] = []
        genres: list[str | None] = []
        artists: list[str | None] = []
        problems: list[str] = []
        for part, table, columns in self._chosen():
            audio, missing = self._audio(table, columns.audio)
            cells = table.select_columns([columns.genre])[columns.genre][:]
            genres += (found := [self._genre(part, row, cell, columns) for row, cell in enumerate(cells)])
            artists += map(_text, table[columns.artist][:]) if columns.artist else [None] * len(found)
            whys = [why or ("" if genre else "has no genre") for why, genre in zip(missing, found, strict=True)]
            problems += [_told(part, row, why) for row, why in enumerate(whys)]
            tables.append(audio)
        names = in_order({genre for genre in genres if genre})
        labels = [names.index(genre) if genre else None for genre in genres]
        joined = datasets.concatenate_datasets(tables)
        joined = joined.add_column("genre", labels, feature=features(names)["genre"])
        joined = joined.add_column("problem", problems, feature=datasets.Value("string"))
        if any(artists):
            joined = joined.add_column(ARTIST_COLUMN, artists, feature=datasets.Value("string"))
        return joined

    def stream(self) -> datasets.IterableDataset:
        """The rows as clips, one after the other. Raises TrainingError."""
        streams = []
        for part, table, columns in self._chosen():
            if isinstance(table.features[columns.audio], datasets.Audio):
                table = table.cast_column(columns.audio, AUDIO_BYTES)
            streams.append(
                table.map(
                    partial(self._example, part=part, columns=columns),
                    with_indices=True,
                    remove_columns=list(table.features),
                    features=STREAMED_FEATURES,
                )
            )
        return datasets.concatenate_datasets(streams)

    def _chosen(self) -> Iterator[tuple[str, Any, Columns]]:
        """The parts that `--dataset_split` names, all without it, each with its columns."""
        for part in wanted_parts(self.name, list(self.parts), self.arguments.dataset_split):
            table = self.parts[part]
            if table.features is None:
                # The columns of a stream of csv or json are only known after its first rows have been read.
                table = table._resolve_features()
            yield part, table, _choose(self.name, table.features, self.arguments)

    def _genre(self, part: str, row: int, cell: object, columns: Columns) -> str | None:
        try:
            return genre_name(cell, columns.class_names)
        except TrainingError as error:
            raise TrainingError(f"{self.name}: row {row} of {part} {error}") from error

    def _example(self, row: Example, index: int, part: str, columns: Columns) -> Example:
        audio, why = _with_bytes(_audio_cell(row[columns.audio]), self.read)
        genre = self._genre(part, index, row[columns.genre], columns)
        return {
            "audio": audio,
            "genre": genre,
            "artist": _text(row[columns.artist]) if columns.artist else None,
            "problem": _told(part, index, why or ("" if genre else "has no genre")),
        }

    def _audio(self, table: datasets.Dataset, column: str) -> tuple[datasets.Dataset, list[str]]:
        """The audio column alone, under that name; and why a row has no audio, empty where it has."""
        if _is_text(table.features[column]):
            # Text of csv files is large, and has no cast to audio.
            table = table.cast_column(column, datasets.Value("string"))
        # datasets' own decoder needs torchcodec, and is not the one that serves.
        audio = table.select_columns([column]).cast_column(column, datasets.Audio(decode=False))
        audio = audio if column == "audio" else audio.rename_column(column, "audio")
        missing = [""] * len(audio)
        for row, cell in _rows_without_bytes(audio):
            content, missing[row] = _with_bytes(cell, self.read)
            if content["bytes"]:
                return self._with_files_read(audio)
        return audio, missing

    def _with_files_read(self, audio: datasets.Dataset) -> tuple[datasets.Dataset, list[str]]:
        """Every row with the bytes of the file that it names."""
        states = "\n".join(self.read.state(name) for name in audio_paths(audio) if name)
        read = audio.map(
            partial(_read_row, read=self.read),
            features=datasets.Features({"audio": AUDIO_BYTES, "why": datasets.Value("string")}),
            writer_batch_size=WRITER_BATCH,
            # A file that was gone may be there now.
            load_from_cache_file=False,
            # What is computed of the clips is kept by this: a table stays the same where its files change.
            new_fingerprint=hashlib.sha256(f"{audio._fingerprint}\n{states}".encode()).hexdigest()[:16],
            desc="Reading clips",
        )
        return read.remove_columns("why").cast_column("audio", datasets.Audio(decode=False)), read["why"][:]


def wanted_parts(name: str, parts: Sequence[str], wanted: str | None) -> list[str]:
    """The parts that `--dataset_split` names, such as `train+test`; all without it. Raises TrainingError."""
    if wanted is None:
        return list(parts)
    spelt = {part.casefold(): part for part in parts}
    names = [part.strip().casefold() for part in wanted.split("+")]
    if unknown := [part for part in names if part not in spelt]:
        has = f"has the parts {', '.join(parts)}" if parts else "has no parts"
        raise TrainingError(f"{name} {has}, and none called {unknown[0]}. Change --dataset_split or leave it out.")
    return [spelt[part] for part in names]


def _choose(name: str, columns: Mapping[str, object], arguments: DataArguments) -> Columns:
    genre = find_genre_column(list(columns), arguments.genre_column)
    audio = _find_audio_column(columns, arguments.audio_column)
    if audio is None or genre is None:
        wanted = [
            f"{option} {column}"
            for option, column in (
                ("--audio_column", arguments.audio_column),
                ("--genre_column", arguments.genre_column),
            )
            if column is not None and column not in columns
        ]
        raise TrainingError(
            f"{name} has the columns {', '.join(columns)}. It needs one of audio, and `genre` or `label`: "
            + (
                f"there is no {' and no '.join(wanted)}."
                if wanted
                else "name them with --audio_column and --genre_column."
            )
        )
    artist = next(
        (column for column in columns if column.casefold() == ARTIST_COLUMN and _is_name(columns[column])), None
    )
    return Columns(audio, genre, artist, class_names(columns[genre]))


def _find_audio_column(columns: Mapping[str, object], wanted: str | None) -> str | None:
    """The column of the audio: the one that is wanted, the only one, or the one called so among several."""
    if wanted is not None:
        return wanted if wanted in columns and (_is_audio(columns[wanted]) or _is_text(columns[wanted])) else None
    found = [column for column, feature in columns.items() if _is_audio(feature)]
    return found[0] if len(found) == 1 else "audio" if "audio" in found else None


def _is_audio(feature: object) -> bool:
    if isinstance(feature, datasets.Value):
        return feature.dtype in ("binary", "large_binary")
    return isinstance(feature, datasets.Audio) or (isinstance(feature, dict) and {"bytes", "path"} <= feature.keys())


def _is_text(feature: object) -> bool:
    return isinstance(feature, datasets.Value) and feature.dtype in ("string", "large_string")


def _is_name(feature: object) -> bool:
    """Whether the cells name somebody: by text, or by a number of theirs."""
    return isinstance(feature, datasets.Value | datasets.ClassLabel) and not _is_audio(feature)


def _text(cell: object) -> str | None:
    return str(cell).strip() or None if cell is not None else None


def _told(part: str, row: int, why: str) -> str:
    return f"row {row} of {part}: {why}" if why else ""


def _rows_without_bytes(audio: datasets.Dataset) -> Iterator[tuple[int, Example]]:
    """Number and cell of each row whose audio the table does not hold. No audio is read for it."""
    start = 0
    for batch in audio.with_format("arrow").iter(_ROWS_IN_BATCH):
        # Chunk by chunk, as one array of 32-bit offsets holds 2 GiB at most.
        for cells in batch["audio"].chunks:
            lengths = pc.binary_length(pc.struct_field(cells, "bytes"))
            for index in pc.indices_nonzero(pc.invert(pc.fill_null(pc.greater(lengths, 0), False))).to_pylist():
                yield start + index, _audio_cell(cells[index].as_py())
            start += len(cells)


def _audio_cell(cell: Any) -> Example:
    if isinstance(cell, str):
        return {"bytes": None, "path": cell}
    if isinstance(cell, bytes):
        return {"bytes": cell, "path": None}
    return {"bytes": cell.get("bytes"), "path": cell.get("path")} if cell else {"bytes": None, "path": None}


def _with_bytes(audio: Example, read: FileReader) -> tuple[Example, str]:
    """The cell with the bytes of the file it names; or why there are none."""
    if audio["bytes"]:
        return audio, ""
    if audio["bytes"] is not None or not audio["path"]:
        return audio, "has no audio" if audio["bytes"] is None else "has audio of no bytes"
    content = read(audio["path"])
    why = "" if content else f"names {audio['path']}, which is " + ("empty" if content is not None else "not there")
    return {"bytes": content, "path": audio["path"]}, why


def _read_row(row: Example, read: FileReader) -> Example:
    audio, why = _with_bytes(_audio_cell(row["audio"]), read)
    return {"audio": audio, "why": why}
