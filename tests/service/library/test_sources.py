"""What a source lists: folders, lists and buckets, with names of every kind."""

import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from service.library.recordings import paths
from service.library.recordings.problems import LibraryError, SourceError
from service.library.recordings.reading import open_recording
from service.library.recordings.sources import Listed, list_recordings


def names(source: str | Path, column: str | None = None) -> list[str]:
    return sorted(recording.path for recording in list_recordings(str(source), column))


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_a_folder_gives_its_audio_files_with_size_and_time(tmp_path: Path) -> None:
    wanted = [touch(tmp_path / "a.mp3"), touch(tmp_path / "b" / "c" / "D.FLAC")]
    for name in ("cover.jpg", ".hidden.mp3", "._a.mp3", ".git/x.mp3", "notes.txt"):
        touch(tmp_path / name)
    assert names(tmp_path) == sorted(map(str, wanted))
    status = wanted[0].stat()
    assert Listed(str(wanted[0]), 1, status.st_mtime_ns) in list(list_recordings(str(tmp_path)))


def test_a_folder_that_links_to_itself_is_walked_once(tmp_path: Path) -> None:
    song = touch(tmp_path / "music" / "a.mp3")
    (tmp_path / "music" / "again").symlink_to(tmp_path / "music")
    assert names(tmp_path / "music") == [str(song)]


@pytest.mark.parametrize("real", ["a", "z"])
def test_a_link_never_gives_a_recording_another_path(tmp_path: Path, real: str) -> None:
    """Whatever it is called, however deep it is, and in whatever order the disk lists it."""
    song = touch(tmp_path / real / "b" / "s.mp3")
    assert names(tmp_path) == [str(song)]
    for name in ("0", "m", "zz/0"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(song.parent)
    assert names(tmp_path) == [str(song)]


def test_links_to_the_same_folder_elsewhere_give_one_path(tmp_path: Path) -> None:
    touch(tmp_path / "disk" / "s.mp3")
    for name in ("m", "b", "z"):
        (tmp_path / "music" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "music" / name).symlink_to(tmp_path / "disk")
    assert names(tmp_path / "music") == [str(tmp_path / "music" / "b" / "s.mp3")]


def test_the_folder_above_a_link_is_that_of_its_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song = touch(tmp_path / "disk" / "music" / "s.mp3")
    (song.parent / "rock").mkdir()
    (tmp_path / "link").symlink_to(song.parent / "rock")
    assert names(tmp_path / "link" / "..") == [str(song)]
    monkeypatch.chdir(song.parent)
    assert names("rock/.././s.mp3") == names("../music//s.mp3") == [str(song)]


def test_paths_of_a_relative_folder_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song = touch(tmp_path / "a.mp3")
    monkeypatch.chdir(tmp_path)
    assert names(".") == [str(song)]


def test_a_name_that_is_not_in_utf8_becomes_a_url_and_is_found_again(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.mp3"
    with open(name, "wb"):
        pass
    (listed,) = names(tmp_path)
    assert listed == f"file://{tmp_path}/caf%E9.mp3"
    assert os.fsencode(paths.local(listed)) == name


def test_lists_give_paths_and_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    entries = ["a b.mp3", "/else/where.ogg", "https://example.org/c.mp3?x=1"]
    wanted = sorted([str(tmp_path / "a b.mp3"), *entries[1:]])
    (tmp_path / "list.txt").write_text("\ufeff" + "\r\n".join(entries) + "\n\n")
    (tmp_path / "list.csv").write_text("title,path\n" + "".join(f'"x, y",{entry}\n' for entry in entries))
    pyarrow.parquet.write_table(pa.table({"song": entries}), tmp_path / "list.parquet")
    assert names("list.txt") == names("list.csv") == names("list.parquet", "song") == wanted


def test_the_address_of_a_recording_may_hold_any_byte(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"https://example.org/caf\xe9/\xc3\xa9.mp3\n")
    assert names(tmp_path / "list.txt") == ["https://example.org/caf%E9/é.mp3"]


def test_a_url_of_a_file_may_name_this_machine(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("file://localhost/music/a%20b.mp3\nfile:///localhost/c.mp3\n")
    assert names(tmp_path / "list.txt") == ["/localhost/c.mp3", "/music/a b.mp3"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_lists_of_windows_programs_are_read(tmp_path: Path, encoding: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    (tmp_path / "list.txt").write_bytes(f"{mark}/ä.mp3\r\n/b.mp3\r\n".encode(encoding))
    (tmp_path / "list.csv").write_bytes(f"{mark}path\r\n/ä.mp3\r\n/b.mp3\r\n".encode(encoding))
    assert names(tmp_path / "list.txt") == names(tmp_path / "list.csv") == ["/b.mp3", "/ä.mp3"]


def test_an_address_that_is_none_stays_one_recording_of_a_list(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("http://[broken/x.mp3\n/a.mp3\n")
    assert names(tmp_path / "list.txt") == ["/a.mp3", "http://[broken/x.mp3"]
    with pytest.raises(SourceError, match="cannot be read"):
        open_recording("http://[broken/x.mp3", 1_000, 20)


def test_a_single_file_is_a_source(tmp_path: Path) -> None:
    assert names(touch(tmp_path / "a.mp3")) == [str(tmp_path / "a.mp3")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone", None, "is not there"),
        ("x" * 300, None, "cannot be read: File name too long"),
        ("list.txt", b"\xff\xfe\n", "cannot be read"),
        ("mix.m3u", b"a.mp3\n", "neither a recording nor a list.*.txt, .csv or .parquet"),
        ("list.csv", b"title\nx\n", "no column 'path'.*title"),
        ("list.parquet", b"no parquet", "cannot be read"),
    ],
)
def test_a_source_that_is_none_is_told(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LibraryError, match=message):
        names(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="a folder that its owner may not read needs another user")
@pytest.mark.parametrize("name", ["", "music"])
def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "music" / "a.mp3")
    os.seteuid(65_534)
    try:
        with pytest.raises(LibraryError, match="cannot be read: Permission denied"):
            names(tmp_path / name)
    finally:
        os.seteuid(0)


def test_a_bucket_is_listed(tmp_path: Path) -> None:
    bucket = fsspec.filesystem("memory")
    bucket.pipe("/library-bucket/a.mp3", b"x")
    bucket.pipe("/library-bucket/sub/b.ogg", b"xy")
    for name in ("cover.jpg", ".trash/a.mp3", "sub/.old/b.mp3", ".a.mp3"):
        bucket.pipe(f"/library-bucket/{name}", b"x")
    found = {(recording.path, recording.size) for recording in list_recordings("memory://library-bucket")}
    assert found == {("memory:///library-bucket/a.mp3", 1), ("memory:///library-bucket/sub/b.ogg", 2)}
    # What the source itself is called does not count.
    assert names("memory://library-bucket/sub/.old") == ["memory:///library-bucket/sub/.old/b.mp3"]


class _Nas(MemoryFileSystem):  # type: ignore[misc]
    """A file system whose paths do not hold the host, as that of ftp."""

    protocol = ("nas",)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.partition("://")[2].partition("/")[2] if "://" in path else path


def test_the_host_of_a_file_server_stays_in_its_paths() -> None:
    fsspec.register_implementation("nas", _Nas)
    _Nas().pipe("/host-music/a.mp3", b"x")
    assert names("nas://server:21/host-music") == ["nas://server:21/host-music/a.mp3"]
    system, path = paths.file_system("nas://server:21/host-music/a.mp3")
    with system.open_input_file(path) as file:
        assert file.read() == b"x"


def test_a_folder_may_be_called_as_its_server_is() -> None:
    fsspec.register_implementation("nas", _Nas, clobber=True)
    _Nas().pipe("/host-rock/host-rock/b.mp3", b"x")
    assert names("nas://host-rock/host-rock/host-rock") == ["nas://host-rock/host-rock/host-rock/b.mp3"]
    assert names("memory://host-rock/host-rock") == ["memory:///host-rock/host-rock/b.mp3"]
    assert paths.root("s3://bucket/bucket/", "bucket/bucket/") == "s3://"


def test_a_bucket_that_cannot_be_listed_is_told() -> None:
    with pytest.raises(LibraryError, match="cannot be listed"):
        names("nosuchscheme://bucket")
