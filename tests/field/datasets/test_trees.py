"""Data sets that are files in folders, wherever the folders lie: which genres and artists they tell."""

import os
from pathlib import Path

import pytest

from tests.field.datasets.recipes import PLACES, Files, clip, clips, read, tree, write
from tests.support.hub_stand_in import HubStandIn
from tests.support.variants import usual
from training.arguments import DataArguments
from training.data.artists import has_artists
from training.data.clips import load_clips
from training.data.sources.layout import is_part_name
from training.data.splits import split
from training.errors import TrainingError

_TWO = {"jazz": 4, "rock": 4}

# What is in the data set, and the clips of each genre in it.
_READ: dict[str, tuple[Files, dict[str, int]]] = {
    "genres": (tree("jazz", "rock", count=4), _TWO),
    "genres-in-folders": (tree("Data/genres_original/jazz", "Data/genres_original/rock", count=4), _TWO),
    "parts": (tree("train/jazz", "train/rock", "test/jazz", "test/rock"), _TWO),
    "parts-in-any-case": (tree("Train/jazz", "TEST_SET/rock", "Validation-1/jazz", "dev/rock"), _TWO),
    "parts-of-a-name": (tree("fma_train/jazz", "fma_train/rock", "fma_test/jazz", "fma_test/rock"), _TWO),
    "parts-in-a-folder": (tree("data/fold1/audio/jazz", "data/fold2/audio/rock", count=4), _TWO),
    "one-part-beside-genres": (tree("jazz", "rock", "test/jazz", "test/rock"), _TWO),
    "parts-in-genres": (tree("jazz/train", "jazz/test", "rock/train", "rock/test"), _TWO),
    "albums": (tree("jazz/Artist A/Live", "jazz/Artist B/Live", "rock/Artist C", "rock/Artist D/Old"), _TWO),
    "some-albums": (tree("jazz", "jazz/Artist A/Live", "rock", "rock/Artist B/Live"), _TWO),
    "metadata-csv": (
        clips("clips/a.wav", "clips/b.wav", "clips/c.wav", "clips/d.wav")
        | {
            "metadata.csv": b"file_name,genre\nclips/a.wav,jazz\nclips/b.wav,rock\nclips/c.wav,jazz\nclips/d.wav,rock\n"
        },
        {"jazz": 2, "rock": 2},
    ),
    "metadata-jsonl": (
        clips("clips/a.wav", "clips/b.wav", "clips/c.wav", "clips/d.wav")
        | {
            "clips/metadata.jsonl": b"".join(
                b'{"file_name": "%s.wav", "label": ["%s"]}\n' % (name, genre)
                for name, genre in zip((b"a", b"b", b"c", b"d"), (b"jazz", b"rock") * 2, strict=True)
            )
        },
        {"jazz": 2, "rock": 2},
    ),
}

# What is in the data set, and what is said of it.
_REFUSED: dict[str, tuple[Files, str]] = {
    "parts-alone": (tree("train", "test"), "clips in test, train and in no genre folder"),
    "folds-alone": (tree("Fold 1", "fold2", "FOLD_3"), "in no genre folder: these are parts of a data set, not genres"),
    "parts-in-a-folder-alone": (tree("data/training", "data/val"), "clips in training, val and in no genre folder"),
    "no-folders": (clips("a.wav", "b.wav"), "lie in no genre folder"),
    "no-audio": ({"jazz/a.txt": b"text", "rock/b.pdf": b"text"}, "holds no audio"),
    "a-genre-alone": (tree("jazz"), "the genre jazz alone. It needs at least two genres"),
    "metadata-several-genres": (
        clips("a.wav") | {"metadata.jsonl": b'{"file_name": "a.wav", "genre": ["Rock", "Pop"]}\n'},
        "row 0 of metadata.jsonl has the genres Rock, Pop",
    ),
}


@pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])
@pytest.mark.parametrize(
    "place",
    usual("folder", "zip", of=PLACES),
)
@pytest.mark.parametrize("kind", _READ)
def test_tree_is_read_from_any_place(kind: str, place: str, streaming: bool, tmp_path: Path, hub: HubStandIn) -> None:
    files, genres = _READ[kind]
    found = read(PLACES[place](tmp_path, hub, files), tmp_path, streaming=streaming)
    assert (found.genres, found.skipped) == (genres, ())


@pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])
@pytest.mark.parametrize("place", ["folder", "zip", "hub"])
@pytest.mark.parametrize("kind", _REFUSED)
def test_folder_that_is_no_data_set_is_one_error_line(
    kind: str, place: str, streaming: bool, tmp_path: Path, hub: HubStandIn
) -> None:
    files, message = _REFUSED[kind]
    if (kind, place) == ("no-audio", "hub"):
        message = "cannot be (used|read)|needs one of audio"
    with pytest.raises(TrainingError, match=message) as raised:
        read(PLACES[place](tmp_path, hub, files), tmp_path, streaming=streaming)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name",
    ["train", "TEST", "Validation", "val", "dev", "eval", "fold1", "Fold 02", "fold_a", "test_set", "TrainSet"]
    + ["train-clean", "testing", "split3", "valid", "k-fold-1", "train_audio", "holdout"],
)
def test_names_of_parts_are_recognised(name: str) -> None:
    assert is_part_name(name)


@pytest.mark.parametrize("name", ["jazz", "Trance", "folk", "Foldcore", "Test Dept.", "Soul Train", "audio", "10", "a"])
def test_names_of_genres_are_no_parts(name: str) -> None:
    assert not is_part_name(name)


def test_second_level_is_the_artist(tmp_path: Path) -> None:
    folders = [f"{genre}/{genre} artist {number}/Live" for genre in ("jazz", "rock") for number in range(12)]
    root = write(tmp_path / "music", tree(*folders))
    loaded = load_clips(DataArguments(dataset=str(root), max_duration_s=1))
    assert has_artists(loaded)
    parts = split(loaded, "artist", seed=1)
    assert parts.name == "artist"
    assert not set(parts.train["artist"]) & set(parts.test["artist"])
    assert loaded.dataset[0]["audio"]["path"] == "jazz/jazz artist 0/Live/0.wav"


def test_folder_that_all_genres_have_is_no_artist(tmp_path: Path) -> None:
    root = write(tmp_path / "music", tree("jazz/wav", "rock/wav"))
    assert not has_artists(load_clips(DataArguments(dataset=str(root), max_duration_s=1)))


def test_clips_of_one_name_are_told_apart(tmp_path: Path) -> None:
    root = write(tmp_path / "music", tree("jazz/A/Live", "jazz/B/Live", "rock/C/Live", "rock/D/Live"))
    write(root, {"rock/C/Live/1.wav": clip(0), "rock/D/Live/1.wav": clip(0)})
    loaded = load_clips(DataArguments(dataset=str(root), max_duration_s=1))
    with pytest.raises(TrainingError, match="rock/./Live/. and .* are the same file"):
        _ = [split(loaded, "random", seed) for seed in range(20)]


@pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])
def test_split_can_be_chosen(streaming: bool, tmp_path: Path) -> None:
    root = str(write(tmp_path / "music", tree("train/jazz", "train/rock", "test/jazz", "test/rock")))
    assert read(root, tmp_path, streaming=streaming, dataset_split="train").genres == {"jazz": 2, "rock": 2}
    assert read(root, tmp_path, streaming=streaming, dataset_split="train+test").genres == _TWO
    with pytest.raises(TrainingError, match="has the parts test, train, and none called dev"):
        read(root, tmp_path, streaming=streaming, dataset_split="dev")


@pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])
def test_links_are_followed_and_circles_end(streaming: bool, tmp_path: Path) -> None:
    pool = write(tmp_path / "pool", tree("0001", "0002") | {"one.wav": clip(90)})
    root = write(tmp_path / "music", tree("metal"))
    write(root, {"metal/0.wav": clip(91), "metal/1.wav": clip(92)})
    (root / "jazz").symlink_to(pool / "0001")
    (root / "rock").symlink_to(pool / "0002")
    (root / "metal" / "link.wav").symlink_to(pool / "one.wav")
    (root / "metal" / "gone.wav").symlink_to(pool / "nowhere.wav")
    (root / "metal" / "circle").symlink_to(root)
    found = read(str(root), tmp_path, streaming=streaming)
    assert found.genres == {"jazz": 2, "rock": 2, "metal": 3}
    assert found.skipped == ("metal/gone.wav: the file is not there",)


@pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])
def test_row_that_names_no_file_is_left_out(streaming: bool, tmp_path: Path) -> None:
    rows = "file_name,genre\na.wav,jazz\nb.wav,jazz\nc.wav,rock\nd.wav,rock\ngone.wav,jazz\n../e.wav,rock\ne.wav,\n"
    files = clips("a.wav", "b.wav", "c.wav", "d.wav", "e.wav") | {"metadata.csv": rows.encode()}
    found = read(str(write(tmp_path / "music", files)), tmp_path, streaming=streaming)
    assert found.genres == {"jazz": 2, "rock": 2}
    assert found.skipped == (
        "row 4 of metadata.csv: names gone.wav, which is not there",
        "row 5 of metadata.csv: names ../e.wav, which is not there",
        "row 6 of metadata.csv: has no genre",
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_file_that_may_not_be_read_is_left_out(tmp_path: Path) -> None:
    root = write(tmp_path / "music", tree("jazz", "rock", count=3))
    (root / "jazz" / "0.wav").chmod(0)
    assert read(str(root), tmp_path, streaming=False).skipped == ("jazz/0.wav: cannot be read (Permission denied)",)


@pytest.mark.parametrize("place", usual("folder", of=["folder", "tar"]))
@pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])
def test_names_of_old_disks_are_read(hub: HubStandIn, tmp_path: Path, place: str, streaming: bool) -> None:
    """In Latin-1, as Windows and early Linux wrote them."""
    name = os.fsdecode(b"caf\xe9")
    files = clips(*(f"{genre}/{name} {number}.wav" for genre in ("jazz", "rock") for number in range(4)))
    found = read(PLACES[place](tmp_path, hub, files), tmp_path, streaming=streaming)
    assert (found.genres, found.skipped) == (_TWO, ())
