"""The scratch folder: one for each service that runs, none for those that do not."""

import subprocess
import sys
from pathlib import Path

import pytest

_HOLD = """
import pathlib, sys
from service.runtime.temporary_folder import scratch_folder
with scratch_folder() as folder:
    (folder / "upload.mp3").write_bytes(b"private")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "subprocess.Popen[str]":
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return start()


def start() -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def folder_of(process: "subprocess.Popen[str]") -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


def test_temporary_folder_is_private_and_removed_at_the_end(hold: "subprocess.Popen[str]", tmp_path: Path) -> None:
    with hold:
        folder = folder_of(hold)
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_folder_of_a_killed_service_alone_is_removed_at_the_next_start(
    hold: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    mine, elsewhere = tmp_path / "mine", tmp_path / ".music-genre-scratch-elsewhere"
    mine.mkdir()
    elsewhere.symlink_to(mine)
    # Unpacked here by somebody, and more or less by chance of that name.
    others = [tmp_path / "music-genre-service-main", tmp_path / ".music-genre-scratch-notes"]
    for other in others:
        other.mkdir(mode=0o755)
    with hold, start() as second:
        killed, running = folder_of(hold), folder_of(second)
        hold.kill()
        hold.wait()
        assert (killed / "upload.mp3").exists()
        with start() as third:
            new = folder_of(third)
            assert set(tmp_path.iterdir()) == {running, new, mine, elsewhere, *others}
            assert (running / "upload.mp3").exists()
    assert set(tmp_path.iterdir()) == {mine, elsewhere, *others}
