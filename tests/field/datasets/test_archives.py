"""Archives that are broken, locked or meant to harm; what is right in them is read without unpacking."""

import io
import zipfile
from itertools import product
from pathlib import Path

import pytest

from tests.field.datasets.recipes import clip, read, tarred, tree, write, zipped
from training.data.sources import archive
from training.errors import TrainingError

_GOOD = tree("Data/genres_original/jazz", "Data/genres_original/rock", count=3)
_GENRES = {"jazz": 3, "rock": 3}
_BESIDE = {
    "Data/features_30_sec.csv": b"filename,label\njazz.0.wav,jazz\n",
    "Data/images_original/jazz/jazz0.png": b"picture",
    "__MACOSX/Data/genres_original/jazz/._0.wav": b"Mac OS X attributes",
}
_PACKED = {"zip": zipped, "tar.gz": tarred}
_STREAMING = pytest.mark.parametrize("streaming", [False, True], ids=["stored", "streamed"])
_SUFFIX = pytest.mark.parametrize("suffix", _PACKED)


def _archive(folder: Path, suffix: str, files: dict[str, bytes]) -> str:
    name = f"music.{suffix}"
    return str(write(folder, {name: _PACKED[suffix](files)}) / name)


def _edited(content: bytes, offset: int, value: bytes) -> bytes:
    """The zip with other bytes in each entry of its directory."""
    edited = bytearray(content)
    start = edited.find(b"PK\x01\x02")
    while start >= 0:
        edited[start + offset : start + offset + len(value)] = value
        start = edited.find(b"PK\x01\x02", start + 4)
    return bytes(edited)


_REFUSED = {
    "cut.zip": (zipped(_GOOD)[:-100], "cut.zip is no readable .zip. Download it again."),
    "login.zip": (b"<html>Log in</html>", "login.zip is no readable .zip. Download it again."),
    "cut.tar.gz": (tarred(_GOOD)[:2_000], "cut.tar.gz is no readable .tar.gz. Download it again."),
    "locked.zip": (_edited(zipped(_GOOD), 8, b"\1\0"), "locked.zip is encrypted. Unpack it with its password"),
    "deflate64.zip": (_edited(zipped(_GOOD), 10, b"\11\0"), "packed by a method that Python cannot read. Unpack it"),
    "terabytes.zip": (_edited(zipped(_GOOD), 24, b"\xfe\xff\xff\xff"), "claims to unpack to 24 GB, over 200 times"),
    "text.zip": (zipped({"readme.txt": b"text", "jazz/a.mid": b"notes"}), "holds no audio, only .mid, .txt"),
    "empty.zip": (zipped({}), "holds no audio. It needs folders"),
    "music.rar": (b"Rar!", "music.rar is no data set. It needs an archive"),
    "clip.wav": (clip(0), "clip.wav is no data set. It needs an archive"),
}


@_STREAMING
@_SUFFIX
def test_archive_as_kaggle_gives_it_is_read(suffix: str, streaming: bool, tmp_path: Path) -> None:
    found = read(_archive(tmp_path, suffix, _GOOD | _BESIDE), tmp_path, streaming=streaming)
    assert (found.genres, found.skipped) == (_GENRES, ())
    assert not list(tmp_path.rglob("*.wav")), "nothing is unpacked"


@_STREAMING
@pytest.mark.parametrize("name", _REFUSED)
def test_file_that_is_no_data_set_is_told_in_one_line(name: str, streaming: bool, tmp_path: Path) -> None:
    content, message = _REFUSED[name]
    with pytest.raises(TrainingError, match=message) as raised:
        read(str(write(tmp_path, {name: content}) / name), tmp_path, streaming=streaming)
    assert "\n" not in str(raised.value)


@_STREAMING
@_SUFFIX
def test_names_that_lead_out_of_the_archive_are_left_out(suffix: str, streaming: bool, tmp_path: Path) -> None:
    outside = {"../../jazz/up.wav": clip(90), "/tmp/rock/absolute.wav": clip(91), "C:\\rock\\drive.wav": clip(92)}
    found = read(_archive(tmp_path, suffix, _GOOD | outside), tmp_path, streaming=streaming)
    assert found.genres == _GENRES
    assert sorted(found.skipped) == sorted(f"{name}: its name leads out of the archive" for name in outside)


@_STREAMING
def test_names_with_backslashes_are_folders(streaming: bool, tmp_path: Path) -> None:
    files = {name.replace("/", "\\"): content for name, content in _GOOD.items()}
    assert read(_archive(tmp_path, "zip", files), tmp_path, streaming=streaming).genres == _GENRES


@_STREAMING
def test_clip_that_unpacks_to_far_more_is_left_out(streaming: bool, tmp_path: Path) -> None:
    bomb = {"Data/genres_original/jazz/bomb.wav": bytes(2**27)}
    found = read(_archive(tmp_path, "zip", _GOOD | bomb), tmp_path, streaming=streaming)
    assert found.genres == _GENRES
    assert found.skipped == ("jazz/bomb.wav: unpacks to over 200 times its size",)


@_STREAMING
@_SUFFIX
def test_clip_that_is_too_large_is_left_out(
    suffix: str, streaming: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_CLIP_BYTES", 2**20)
    long = {"Data/genres_original/jazz/long.wav": bytes(2**20 + 1)}
    found = read(_archive(tmp_path, suffix, _GOOD | long), tmp_path, streaming=streaming)
    assert found.skipped == ("jazz/long.wav: is larger than 1 MB",)


@_STREAMING
def test_damaged_entry_is_left_out(streaming: bool, tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, entry in _GOOD.items():
            packed.writestr(name, entry)
    content = bytearray(file.getvalue())
    content[content.find(clip(0)) + 1_000] ^= 0xFF
    path = write(tmp_path, {"music.zip": bytes(content)}) / "music.zip"
    found = read(str(path), tmp_path, streaming=streaming)
    assert found.skipped == ("jazz/0.wav: is damaged in the archive",)
    assert found.genres == {"jazz": 2, "rock": 3}


@_STREAMING
def test_archives_of_one_name_in_several_folders_are_all_read(streaming: bool, tmp_path: Path) -> None:
    files = {
        f"{part}/{genre}.zip": zipped({f"{number}.wav": clip(10 * place + number) for number in range(2)})
        for place, (part, genre) in enumerate(product(("train", "test"), ("jazz", "rock")))
    }
    source = str(write(tmp_path / "music", files))
    assert read(source, tmp_path, streaming=streaming).genres == {"jazz": 4, "rock": 4}
    twice = {f"jazz.{number}.zip": zipped({"0.wav": clip(number)}) for number in range(2)}
    with pytest.raises(TrainingError, match=r"has jazz/0.wav in jazz.0.zip and in jazz.1.zip. Rename one of them"):
        read(str(write(tmp_path / "twice", twice)), tmp_path, streaming=streaming)


@_STREAMING
def test_folder_of_archives_is_read(streaming: bool, tmp_path: Path) -> None:
    starts = {"jazz": 0, "rock": 10}
    files = {
        f"{genre}.zip": zipped({f"{number}.wav": clip(number + start) for number in range(3)})
        for genre, start in starts.items()
    }
    assert read(str(write(tmp_path / "music", files)), tmp_path, streaming=streaming).genres == _GENRES
