from pathlib import Path

import pytest

from training.errors import TrainingError
from training.finetuning import run_folder


def _checkpoint(output_dir: Path, step: int, state: str | None = "{}") -> Path:
    folder = output_dir / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    if state is not None:
        (folder / "trainer_state.json").write_text(state)
    return folder


def test_the_same_settings_claim_the_folder_again(tmp_path: Path) -> None:
    run_folder.lock_settings(tmp_path / "run", {"seed": 1})
    run_folder.lock_settings(tmp_path / "run", {"seed": 1})


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    # A command that failed before it had its clips may be corrected.
    run_folder.lock_settings(tmp_path, {"seed": 1, "learning_rate": 0.3})
    run_folder.lock_settings(tmp_path, {"seed": 1, "learning_rate": 0.1})
    run_folder.lock_clips(tmp_path, ["a", "b"])
    with pytest.raises(TrainingError, match=r"other settings \(learning_rate was 0.1, now 0.2\)"):
        run_folder.lock_settings(tmp_path, {"seed": 1, "learning_rate": 0.2})


def test_other_clips_than_the_run_began_with_are_refused(tmp_path: Path) -> None:
    """A new split of more clips would test the checkpoints on clips that they were trained on."""
    run_folder.lock_clips(tmp_path, ["a", "b"])
    run_folder.lock_clips(tmp_path, ["a", "b"])
    with pytest.raises(TrainingError, match=r"not those that the run in .* began with \(2 then, 3 now\)"):
        run_folder.lock_clips(tmp_path, ["a", "b", "c"])
    with pytest.raises(TrainingError, match="2 then, 2 now"):
        run_folder.lock_clips(tmp_path, ["a", "c"])


def test_the_newest_checkpoint_by_number(tmp_path: Path) -> None:
    _checkpoint(tmp_path, 9)
    newest = _checkpoint(tmp_path, 10)
    assert run_folder.last_checkpoint(tmp_path) == newest


@pytest.mark.parametrize("state", [None, '{"epoch": 1'])
def test_a_half_written_checkpoint_is_passed_over_and_removed(tmp_path: Path, state: str | None) -> None:
    whole = _checkpoint(tmp_path, 9)
    half = _checkpoint(tmp_path, 10, state)
    assert run_folder.last_checkpoint(tmp_path) == whole
    assert not half.exists()


def test_a_new_folder_has_none(tmp_path: Path) -> None:
    assert run_folder.last_checkpoint(tmp_path) is None
