"""What an epoch of training costs: `make bench-train`.

DistilHuBERT's full architecture with random weights on 30 s clips of synthetic music, once by the audio course's recipe
and once by `--recipe best`, each as the command that people type. Prints a Markdown table. Leave the machine alone
meanwhile.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from transformers import HubertForSequenceClassification, Wav2Vec2FeatureExtractor

from tests.benchmarks.measuring import machine
from tests.benchmarks.model import WINDOW_S, config
from tests.benchmarks.report import Row, Section
from training.synthetic import render

_CLIPS_PER_GENRE = 3
_EPOCHS = 10
"""Of a real run: what is done once is shared by so many."""


@dataclass(frozen=True)
class Run:
    """encode_s: seconds to fill the encoder cache. epoch_s: of an epoch, its evaluation included. memory_mb: the most
    that was resident. disk_mb: of checkpoints and encoder cache."""

    encode_s: float
    epoch_s: float
    memory_mb: float
    disk_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.training", description=__doc__.splitlines()[0])
    parser.add_argument("--course_epochs", type=int, default=1, help="epochs to time of the course's recipe")
    parser.add_argument("--best_epochs", type=int, default=3, help="epochs to time of the best recipe")
    options = parser.parse_args()
    sys.stdout.write("".join(f"- {name}: {value}\n" for name, value in machine().items()))
    with tempfile.TemporaryDirectory(prefix="music-genre-training-") as scratch:
        home = Path(scratch)
        _write_base(home / "base")
        _write_clips(home / "clips")
        course = _train(home, "course", options.course_epochs)
        best = _train(home, "best", options.best_epochs)
    sys.stdout.write(f"\n{_section(course, best).markdown()}\n")


def _write_base(folder: Path) -> None:
    HubertForSequenceClassification(config()).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)


def _write_clips(folder: Path) -> None:
    for genre in render.GENRES:
        (folder / genre).mkdir(parents=True)
        for seed in range(_CLIPS_PER_GENRE):
            clip = render.encode(render.render(genre, seed, WINDOW_S))
            (folder / genre / f"{genre}.{seed:05}.flac").write_bytes(clip)


def _train(home: Path, recipe: str, epochs: int) -> Run:
    output_dir = home / recipe
    command = (
        *(sys.executable, "-m", "training", "--dataset", str(home / "clips"), "--output_dir", str(output_dir)),
        *("--model_name_or_path", str(home / "base"), "--recipe", recipe, "--num_train_epochs", str(epochs)),
        *("--no_robustness", "--save_total_limit", "1", "--logging_strategy", "epoch"),
    )
    started = time.perf_counter()
    log = home / f"{recipe}.log"
    with log.open("w", encoding="utf-8") as output:
        environment = os.environ | {"HF_HOME": str(home / "cache"), "HF_HUB_OFFLINE": "1"}
        child = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(log.read_text(encoding="utf-8"))
    sys.stderr.write(f"{recipe}: {time.perf_counter() - started:.0f} s in all\n")
    encoded = re.search(r"Encoded \d+ windows in ([\d.]+) s", log.read_text(encoding="utf-8"))
    (state,) = output_dir.glob("checkpoint-*/trainer_state.json")
    # Between the ends of epochs; the first one also starts the workers and warms up, as it does in a real run.
    runtime = re.search(r"'train_runtime': '?([\d.]+)", log.read_text(encoding="utf-8"))
    assert runtime is not None
    assert json.loads(state.read_text(encoding="utf-8"))["epoch"] == epochs
    disk = sum(file.stat().st_size for file in (*output_dir.rglob("*"), *home.rglob("*.bf16")) if file.is_file())
    return Run(
        encode_s=float(encoded[1]) if encoded else 0.0,
        epoch_s=float(runtime[1]) / epochs,
        memory_mb=usage.ru_maxrss * 1024 / 1e6,
        disk_mb=disk / 1e6,
    )


def _section(course: Run, best: Run) -> Section:
    rows: list[Row] = [
        {
            "recipe": name,
            "encoder cache, once (s)": run.encode_s,
            "an epoch (s)": run.epoch_s,
            f"a share of the cache and an epoch, of {_EPOCHS} (s)": _shared(run),
            "times course": _shared(course) / _shared(run),
            "peak memory (MB)": run.memory_mb,
            "disk (MB)": run.disk_mb,
        }
        for name, run in (("course", course), ("best", best))
    ]
    clips = _CLIPS_PER_GENRE * len(render.GENRES)
    trained = (_CLIPS_PER_GENRE - 1) * len(render.GENRES)
    remark = (
        f"DistilHuBERT's size, random weights, {clips} synthetic clips of {WINDOW_S:g} s: {trained} trained on, "
        f"{clips - trained} evaluated in each epoch. Checkpoints are part of an epoch."
    )
    return Section("An epoch of training", rows, [remark])


def _shared(run: Run) -> float:
    return run.encode_s / _EPOCHS + run.epoch_s


if __name__ == "__main__":
    main()
