"""Genre folders that are empty, ambiguous or misplaced: each is refused by name."""

import tarfile
from pathlib import Path

import pytest

from tests.support import gtzan
from tests.training.data.clip_folders import _arguments, _two_genres, _write_folder
from training.data.clips import load_clips
from training.errors import TrainingError


def test_a_genre_folder_without_clips_is_refused(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path, _two_genres())
    (folder / "genres_original" / "polka").mkdir()
    with pytest.raises(TrainingError, match="genre folder polka .* holds no audio"):
        load_clips(_arguments(folder))


def test_a_genre_whose_clips_are_all_broken_is_refused(tmp_path: Path) -> None:
    broken = {f"genres_original/polka/polka.0000{seed}.wav": b"broken" for seed in range(3)}
    folder = _write_folder(tmp_path, _two_genres() | broken)
    with pytest.raises(TrainingError, match="genre polka has 0 usable clips"):
        load_clips(_arguments(folder))


def test_a_genre_with_one_clip_is_refused(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path, _two_genres() | {"genres_original/polka/a.wav": gtzan.clip("pop", 0)})
    with pytest.raises(TrainingError, match="genre polka has 1 usable clips. It needs at least two"):
        load_clips(_arguments(folder))


@pytest.mark.parametrize("other", ["Hip-Hop", "hip hop", "HIPHOP", "hip_hop"])
def test_two_spellings_of_one_genre_are_refused(tmp_path: Path, other: str) -> None:
    clips = {f"{genre}/{seed}.wav": gtzan.clip("hiphop", seed) for genre in ("hiphop", other) for seed in range(2)}
    with pytest.raises(TrainingError, match=f"{other}.*hiphop.*|hiphop.*{other}.* look like one genre"):
        load_clips(_arguments(_write_folder(tmp_path, clips)))


def test_genres_without_letters_are_not_one(tmp_path: Path) -> None:
    clips = {f"{genre}/{seed}.wav": gtzan.clip("pop", seed) for genre in ("!!!", "???") for seed in range(2)}
    assert load_clips(_arguments(_write_folder(tmp_path, clips))).genres == ["!!!", "???"]


def test_clips_beside_the_genre_folders_are_refused(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path / "music", _two_genres() | {"genres_original/stray.wav": gtzan.clip("pop", 0)})
    with pytest.raises(TrainingError, match="clips lie both in genres_original and in the folder jazz inside it"):
        load_clips(_arguments(folder))


def test_clips_beside_the_genre_folders_of_an_archive_are_refused(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path / "music", _two_genres() | {"stray.wav": gtzan.clip("pop", 0)})
    with tarfile.open(tmp_path / "music.tar.gz", "w:gz") as tar:
        tar.add(folder, ".")
    with pytest.raises(
        TrainingError, match="clips lie both in the top folder and in the folder genres_original inside it"
    ):
        load_clips(_arguments(tmp_path / "music.tar.gz"))


def test_clips_in_no_genre_folder_are_refused(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path, {f"{seed}.wav": gtzan.clip("pop", seed) for seed in range(3)})
    with pytest.raises(TrainingError, match="lie in no genre folder. It needs folders <genre>/<clip>"):
        load_clips(_arguments(folder))


def test_a_folder_without_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="holds no audio"):
        load_clips(_arguments(tmp_path))


def test_folder_of_a_single_genre_is_refused(tmp_path: Path) -> None:
    folder = _write_folder(tmp_path, {f"jazz/{seed}.wav": gtzan.clip("jazz", seed) for seed in range(2)})
    with pytest.raises(TrainingError, match="at least two genres"):
        load_clips(_arguments(folder))
