"""One epoch over 20,000 synthetic clips at flat memory. Slow: `make test-slow`."""

import re
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import soundfile

from tests.support.processes import started

_GENRES = ("bass", "tenor", "alto", "soprano")
_CLIPS_PER_GENRE = 5_000
_RATE = 8_000
_OPTIONS = (
    *("--streaming", "--max_duration_s", "2", "--num_train_epochs", "1", "--per_device_train_batch_size", "16"),
    *("--save_strategy", "no", "--eval_strategy", "no", "--no_load_best_model_at_end", "--no_robustness"),
    *("--use_cpu", "--new_head"),
)


@pytest.fixture
def clips() -> Iterator[Path]:
    """20,000 clips of 2 s, a tone in noise each: 640 MB, which do not stay."""
    rng = np.random.default_rng(0)
    time_s = np.arange(2 * _RATE) / _RATE
    with tempfile.TemporaryDirectory() as folder:
        for octave, genre in enumerate(_GENRES):
            Path(folder, genre).mkdir()
            for number in range(_CLIPS_PER_GENRE):
                tone = np.sin(2 * np.pi * rng.uniform(100, 200) * 2**octave * time_s)
                waveform = 0.3 * tone + 0.05 * rng.standard_normal(len(time_s))
                soundfile.write(Path(folder, genre, f"{number}.wav"), waveform, _RATE)
        yield Path(folder)


@pytest.mark.slow
def test_an_epoch_over_20_000_clips_at_flat_memory(model_folder: Path, clips: Path, tmp_path: Path) -> None:
    """Resident memory in the last quarter of the epoch, against that of the second; batches come and go by 20 MB."""
    log = tmp_path / "log"
    model = ("--dataset", str(clips), "--model_name_or_path", str(model_folder), "--output_dir", str(tmp_path / "run"))
    resident: list[tuple[float, int]] = []
    with started("training", *_OPTIONS, *model, log=log) as process:
        while process.poll() is None and (not resident or resident[-1][0] < 0.99):
            time.sleep(1)
            if (epoch := _epoch(log)) is not None and process.poll() is None:
                resident.append((epoch, _resident_bytes(process.pid)))
        process.send_signal(signal.SIGTERM)
    second = [size for epoch, size in resident if 0.25 <= epoch < 0.5]
    last = [size for epoch, size in resident if epoch >= 0.75]
    assert min(len(second), len(last)) > 10, log.read_text()[-2000:]
    print(f"MB resident: second quarter {median(second) / 1e6:.0f}, last quarter {median(last) / 1e6:.0f}")  # noqa: T201
    assert median(last) <= 1.03 * median(second)


def _epoch(log: Path) -> float | None:
    """How much of the epoch is done, by the last loss in the log."""
    logged = re.findall(r"'epoch': '?([\d.]+)", log.read_text(errors="replace"))
    return float(logged[-1]) if logged else None


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0
