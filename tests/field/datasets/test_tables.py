"""Data sets that are tables, on this machine and on the Hub: columns, genres and rows as people have them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.field.datasets.recipes import PLACES, cell, clip, clips, pushed, read, table, write
from tests.support.hub_stand_in import HubStandIn
from training.arguments import DataArguments
from training.data.clips import load_clips
from training.errors import TrainingError

pytestmark = pytest.mark.thorough

_PLAIN = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
_TEXT, _NUMBER = datasets.Value("string"), datasets.Value("int64")
_LABEL = datasets.ClassLabel(names=["rock", "jazz"])
_GENRES = ["jazz", "rock", "jazz", "rock"]
_TWO = {"jazz": 2, "rock": 2}
_STREAMING = pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])
_PLACE = pytest.mark.parametrize("place", ["folder", "hub"])
# datasets leaves a csv file to the garbage collector, when it has looked which columns a stream has.
_UNCLOSED = pytest.mark.filterwarnings("ignore:Exception ignored in. <_io.FileIO")


def _rows(genres: list[Any], genre: object, audio: object = None, name: str = "genre") -> bytes:
    """A table with one clip for each genre."""
    cells: list[object] = [cell(number) for number in range(len(genres))]
    return table({"audio": cells, name: genres}, {"audio": audio or datasets.Audio(), name: genre})


_READ: dict[str, tuple[bytes, dict[str, int]]] = {
    "text": (_rows(_GENRES, _TEXT), _TWO),
    "class-label": (_rows([0, 1, 0, 1], _LABEL, name="label"), _TWO),
    "plain-audio": (_rows(_GENRES, _TEXT, _PLAIN, "Genre"), _TWO),
    "numbers": (_rows([7, 10, 7, 10], _NUMBER), {"7": 2, "10": 2}),
    "lists-of-one": (_rows([[genre] for genre in _GENRES], datasets.List(_TEXT), name="genres"), _TWO),
    "lists-of-one-label": (_rows([[0], [1], [0], [1]], datasets.List(_LABEL)), _TWO),
}


@_STREAMING
@_PLACE
@pytest.mark.parametrize("kind", _READ)
def test_genres_of_any_type_are_taken(kind: str, place: str, streaming: bool, tmp_path: Path, hub: HubStandIn) -> None:
    content, genres = _READ[kind]
    dataset = PLACES[place](tmp_path, hub, {"data/train-00000-of-00001.parquet": content})
    found = read(dataset, tmp_path, streaming=streaming)
    assert (found.genres, found.skipped) == (genres, ())


@_STREAMING
@pytest.mark.parametrize(
    ("genres", "feature"), [([["Rock"], ["Rock", "Pop"]], datasets.List(_TEXT)), ([[0], [0, 1]], datasets.List(_LABEL))]
)
def test_several_genres_of_a_clip_are_an_error_in_words(
    genres: list[Any], feature: object, streaming: bool, tmp_path: Path
) -> None:
    path = write(tmp_path, {"music.parquet": _rows(genres, feature)}) / "music.parquet"
    with pytest.raises(TrainingError, match=r"row 1 of music has the genres \w+, \w+. A clip has one genre"):
        read(str(path), tmp_path, streaming=streaming)


@_STREAMING
@_PLACE
def test_rows_without_audio_or_genre_are_left_out_and_named(
    place: str, streaming: bool, tmp_path: Path, hub: HubStandIn
) -> None:
    cells: list[object] = [cell(number) for number in range(4)]
    cells += [None, {"bytes": b"", "path": "empty.wav"}, {"bytes": None, "path": "gone.wav"}]
    cells += [{"bytes": None, "path": None}, {"bytes": b"RIFF broken", "path": "broken.wav"}, cell(8), cell(9)]
    genres: list[object] = [*_GENRES, *_GENRES, "jazz", None, ""]
    content = table({"audio": cells, "genre": genres}, {"audio": datasets.Audio(), "genre": _TEXT})
    dataset = PLACES[place](tmp_path, hub, {"data/train-00000-of-00001.parquet": content})
    found = read(dataset, tmp_path, streaming=streaming)
    assert found.genres == _TWO
    skipped = sorted(found.skipped)
    assert skipped[0].startswith("broken.wav: ")
    assert skipped[1:] == [
        "row 10 of train: has no genre",
        "row 4 of train: has no audio",
        "row 5 of train: has audio of no bytes",
        "row 6 of train: names gone.wav, which is not there",
        "row 7 of train: has no audio",
        "row 9 of train: has no genre",
    ]


_LISTS: Mapping[str, Callable[[list[tuple[str, str]]], str]] = {
    "csv": lambda rows: "file,music_genre\n" + "".join(f"{name},{genre}\n" for name, genre in rows),
    "jsonl": lambda rows: "".join(f'{{"file": "{name}", "music_genre": "{genre}"}}\n' for name, genre in rows),
}


@_UNCLOSED
@_STREAMING
@_PLACE
@pytest.mark.parametrize("suffix", _LISTS)
def test_files_that_rows_name_are_read(
    suffix: str, place: str, streaming: bool, tmp_path: Path, hub: HubStandIn
) -> None:
    names = [*(f"clips/{number}.wav" for number in range(4)), "clips/gone.wav", "/etc/hostname"]
    listed = _LISTS[suffix](list(zip(names, [*_GENRES, "jazz", "rock"], strict=True)))
    dataset = PLACES[place](tmp_path, hub, clips(*names[:4]) | {f"train.{suffix}": listed.encode()})
    found = read(dataset, tmp_path, streaming=streaming, audio_column="file", genre_column="music_genre")
    assert found.genres == _TWO
    gone, no_audio = sorted(found.skipped, key=lambda problem: "hostname" in problem)
    assert gone == "row 4 of train: names clips/gone.wav, which is not there"
    # A file of this machine is nothing that a repo may name.
    assert no_audio.endswith("not there") == (place == "hub")


def test_file_that_a_row_names_is_read_once_it_is_there(tmp_path: Path) -> None:
    rows = list(zip([f"{number}.wav" for number in range(5)], [*_GENRES, "rock"], strict=True))
    root = write(tmp_path / "music", clips(*(name for name, _ in rows[:4])) | {"t.csv": _LISTS["csv"](rows).encode()})
    options = {"audio_column": "file", "genre_column": "music_genre"}
    assert read(str(root), tmp_path, streaming=False, **options).genres == {"jazz": 2, "rock": 2}
    write(root, {"4.wav": clip(50)})
    assert read(str(root), tmp_path, streaming=False, **options).genres == {"jazz": 2, "rock": 3}


@_STREAMING
@_PLACE
def test_columns_are_listed_when_the_choice_is_not_obvious(
    place: str, streaming: bool, tmp_path: Path, hub: HubStandIn
) -> None:
    columns: dict[str, list[object]] = {"file": [cell(number) for number in range(4)], "music_genre": [*_GENRES]}
    content = table(columns, {"file": datasets.Audio(), "music_genre": _TEXT})
    dataset = PLACES[place](tmp_path, hub, {"train.parquet": content})
    with pytest.raises(TrainingError, match=r"has the columns file, music_genre.*--genre_column"):
        read(dataset, tmp_path, streaming=streaming)
    with pytest.raises(TrainingError, match=r"has the columns file, music_genre.*there is no --genre_column style"):
        read(dataset, tmp_path, streaming=streaming, genre_column="style")
    assert read(dataset, tmp_path, streaming=streaming, genre_column="music_genre").genres == _TWO


@_STREAMING
@pytest.mark.parametrize("in_parts", [False, True], ids=["one", "parts"])
@pytest.mark.parametrize("is_on_hub", [False, True], ids=["local", "hub"])
def test_folder_of_save_to_disk_is_read(
    is_on_hub: bool, in_parts: bool, streaming: bool, tmp_path: Path, hub: HubStandIn
) -> None:
    dataset = str(_save(tmp_path / "music", in_parts=in_parts))
    if is_on_hub:
        saved = [file for file in Path(dataset).rglob("*") if file.is_file()]
        files = {file.relative_to(dataset).as_posix(): file.read_bytes() for file in saved}
        dataset = pushed(hub, tmp_path.name, files)
    assert read(dataset, tmp_path, streaming=streaming).genres == ({"jazz": 3, "rock": 3} if in_parts else _TWO)
    if in_parts:
        assert read(dataset, tmp_path, streaming=streaming, dataset_split="train").genres == _TWO


def test_artists_of_a_column_are_known(tmp_path: Path) -> None:
    root = _save(tmp_path / "music", in_parts=False)
    loaded = load_clips(DataArguments(dataset=str(root), max_duration_s=1))
    assert loaded.dataset["artist"][:] == ["A", "B", None, "B"]


def test_folder_of_arrow_files_is_read(tmp_path: Path) -> None:
    root = _save(tmp_path / "music", in_parts=False)
    (root / "state.json").unlink()
    assert read(str(root), tmp_path, streaming=False).genres == _TWO


def _save(root: Path, *, in_parts: bool) -> Path:
    """A folder that `save_to_disk` made; with a second part of two more clips."""
    features = datasets.Features({"audio": _PLAIN, "genre": _TEXT, "artist": _TEXT})
    rows = {
        "audio": [cell(number) for number in range(6)],
        "genre": [*_GENRES, "jazz", "rock"],
        "artist": ["A", "B", None, "B", "C", "D"],
    }
    everything = datasets.Dataset.from_dict(rows, features=features)
    train, test = (everything.select(rows) for rows in (range(4), range(4, 6)))
    (datasets.DatasetDict(train=train, test=test) if in_parts else train).save_to_disk(root)
    return root


@_STREAMING
@pytest.mark.parametrize("name", ["train-00000-of-00001.parquet", "jazz.PARQUET", "default/train/0000.parquet"])
def test_parquet_is_read_under_any_name(name: str, streaming: bool, tmp_path: Path) -> None:
    root = write(tmp_path / "music", {name: _rows(_GENRES, _TEXT)})
    assert read(str(root), tmp_path, streaming=streaming).genres == _TWO
    assert read(str(root / name), tmp_path, streaming=streaming).genres == _TWO


@_STREAMING
def test_broken_parquet_is_told_in_one_line(streaming: bool, tmp_path: Path) -> None:
    root = write(tmp_path / "music", {"train.parquet": b"PAR1 and nothing else"})
    with pytest.raises(TrainingError, match="music cannot be read as a data set: ") as raised:
        read(str(root), tmp_path, streaming=streaming)
    assert "\n" not in str(raised.value)


def test_a_file_that_a_table_names_may_change(tmp_path: Path) -> None:
    files = clips(*(f"{number}.wav" for number in range(6))) | {"3.wav": b"no audio"}
    rows = "".join(f"{number}.wav,{genre}\n" for number, genre in enumerate(["jazz", "rock"] * 3))
    root = write(tmp_path / "music", files | {"clips.csv": f"file,genre\n{rows}".encode()})
    options = {"dataset": str(root), "max_duration_s": 1, "audio_column": "file"}
    before = load_clips(DataArguments(**options))  # type: ignore[arg-type]
    assert len(before.skipped) == 1
    write(root, {"0.wav": clip(20), "3.wav": clip(23)})
    after = load_clips(DataArguments(**options))  # type: ignore[arg-type]
    assert after.skipped == ()
    assert after.digests[1:3] == before.digests[1:3]
    assert after.digests[0] != before.digests[0]


@pytest.mark.parametrize(
    ("artist", "cells"), [(_NUMBER, [0, 0, 7, 7]), (datasets.ClassLabel(names=["a", "b"]), [0, 0, 1, 1])]
)
def test_artists_may_be_numbers(artist: object, cells: list[object], tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {
        "audio": [cell(number) for number in range(4)],
        "genre": [*_GENRES],
        "artist": cells,
    }
    content = table(columns, {"audio": datasets.Audio(), "genre": _TEXT, "artist": artist})
    root = write(tmp_path / "music", {"train.parquet": content})
    loaded = load_clips(DataArguments(dataset=str(root), max_duration_s=1))
    assert loaded.dataset["artist"][:] == [str(cell) for cell in cells]
