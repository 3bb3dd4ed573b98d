"""What is kept of the page's uploads, and for how long."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from service.ui.hardening.patches import UploadForm
from service.ui.hardening.uploads import KEPT_S, delete_expired


def upload(folder: Path, name: str, *, age_s: float, size: int = 10) -> Path:
    """A file as Gradio stores it: in a folder of its own, or beside them while it arrives."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@pytest.mark.parametrize(
    ("name", "age_s", "kept"),
    [
        ("a/song.mp3", 0, True),
        ("a/song.mp3", KEPT_S - 60, True),
        ("a/song.mp3", KEPT_S + 60, False),
        ("tmp123", 50, True),
        ("tmp123", 70, False),
        # The clock was set back an hour since.
        ("a/song.mp3", -3_600, False),
    ],
)
def test_uploads_are_kept_for_a_while(tmp_path: Path, name: str, age_s: float, kept: bool) -> None:
    path = upload(tmp_path, name, age_s=age_s)
    delete_expired(tmp_path, max_bytes=1_000, partial_s=60)
    assert path.exists() is kept
    assert path.parent.exists() is (kept or path.parent == tmp_path)


def test_oldest_uploads_are_deleted_beyond_the_limit(tmp_path: Path) -> None:
    paths = [upload(tmp_path, f"{age_s}/song.mp3", age_s=age_s, size=400) for age_s in (10, 20, 30, 40)]
    delete_expired(tmp_path, max_bytes=1_000, partial_s=60)
    assert [path.exists() for path in paths] == [True, True, False, False]


def test_target_of_a_link_is_not_deleted(tmp_path: Path) -> None:
    kept = upload(tmp_path, "kept.wav", age_s=2 * KEPT_S)
    folder = tmp_path / "uploads"
    folder.mkdir()
    (folder / "link").symlink_to(kept)
    os.utime(folder / "link", (0, 0), follow_symlinks=False)
    delete_expired(folder, max_bytes=1_000, partial_s=60)
    assert not list(folder.iterdir())
    assert kept.exists()


def test_a_folder_that_is_not_there_is_swept(tmp_path: Path) -> None:
    delete_expired(tmp_path / "none", max_bytes=1, partial_s=1)


def test_an_upload_that_breaks_off_leaves_no_file_open(tmp_path: Path) -> None:
    async def broken() -> AsyncGenerator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="song.mp3"\r\n\r\nthe beginning'
        raise ClientDisconnect

    async def receive() -> None:
        headers = Headers({"Content-Type": "multipart/form-data; boundary=x"})
        form = UploadForm(headers, broken(), upload_dir=tmp_path, max_file_size=1_000)
        with pytest.raises(ClientDisconnect):
            await form.parse()
        (file,) = tmp_path.iterdir()
        assert form._files_to_close_on_error[0].name == str(file)
        assert form._files_to_close_on_error[0].closed

    asyncio.run(receive())
