from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disks import disk
from tests.support.processes import run
from training.errors import is_full

_MADE = ("--dataset", "synthetic", "--synthetic_clips_per_genre", "2", "--synthetic_duration_s", "2")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """It holds one synthetic clip of two seconds and not twenty."""
    with disk(tmp_path / "disk", size="100k") as folder:
        yield folder


@pytest.mark.slow
def test_a_disk_that_fills_while_clips_are_prepared_is_named(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(small_disk))
    result = run("training", *_MADE, "--model_name_or_path", "tiny", "--output_dir", str(tmp_path / "run"))
    assert result.returncode == 1
    error = result.stdout.splitlines()[-1]
    assert error.startswith(f"error: The disk is full that {small_disk} lies on.")
    assert "HF_DATASETS_CACHE, or HF_HOME" in error
    assert "Traceback" not in result.stdout


def test_other_errors_are_no_full_disk() -> None:
    assert not is_full(OSError(13, "Permission denied"))
    assert is_full(OSError(28, "No space left on device"))
