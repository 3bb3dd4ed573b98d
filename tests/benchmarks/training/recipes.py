"""What each option of the training recipe is worth: `python -m tests.benchmarks.training.recipes [--json FILE]`.

A small HuBERT, trained beforehand to tell five genres of other synthetic clips, is fine-tuned with one option at a time
and three seeds each, and tested on synthetic clips that nothing was trained on. Prints a Markdown table.
"""

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import datasets
import numpy as np
from transformers import AutoModelForAudioClassification, Wav2Vec2FeatureExtractor
from transformers.utils.logging import disable_progress_bar

from service.audio import Waveform, WindowSpec, open_audio
from tests.benchmarks.report import Row, Section
from training.cli import parse
from training.data.clips import open_clip
from training.evaluation.robustness import conditions, make_predictor
from training.synthetic import render
from training.train import train

CLIP_S, WINDOW_S = 6.0, 2.0
CLIPS, RARE_CLIPS, UNHEARD_CLIPS = 24, 6, 25
SEEDS = (1, 2, 3)
DISTORTED = ("mp3 at 64 kb/s", "phone band", "noise at 10 dB")

# Seeds of synthetic music that no two sets share.
_BASE_SEED, _UNHEARD_SEED = 20_000, 10_000

_COMMON = (
    *("--max_duration_s", str(WINDOW_S), "--num_train_epochs", "6", "--per_device_train_batch_size", "16"),
    *("--learning_rate", "5e-4", "--weight_decay", "0.01", "--bf16", "--no_robustness", "--disable_tqdm", "True"),
)

VARIANTS: dict[str, tuple[str, ...]] = {
    "course": (),
    "random crops": ("--random_crop",),
    "encoder frozen": ("--feature_encoder", "frozen"),
    "encoder cached": ("--feature_encoder", "cached"),
    "label smoothing 0.1": ("--label_smoothing_factor", "0.1"),
    "rare genres": ("--dataset", "rare"),
    "rare genres, class weights": ("--dataset", "rare", "--class_weights"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.training.recipes", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write each run here, a line each; none that is there runs again"
    )
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="some variants")
    parser.add_argument("--home", type=Path, help="keep music and models here; what is there already is not made again")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    disable_progress_bar()
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(prefix="music-genre-recipes-") as scratch:
        home = options.home or Path(scratch)
        _make_music(home)
        with redirect_stdout(sys.stderr):
            _pretrain(home)
        lines = options.json.read_text(encoding="utf-8").splitlines() if options.json and options.json.is_file() else []
        before = {(run["variant"], run["seed"]): run for run in map(json.loads, lines)}
        runs: dict[str, list[Row]] = {}
        for seed in SEEDS:
            for name in options.only:
                # What the Trainer prints is no part of the table.
                with redirect_stdout(sys.stderr):
                    run = before.get((name, seed)) or {"variant": name, "seed": seed} | _run(home, name, seed)
                runs.setdefault(name, []).append(run)
                if options.json and (name, seed) not in before:
                    with options.json.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(run) + "\n")
    sys.stdout.write(_table(runs).markdown() + "\n")


def _make_music(home: Path) -> None:
    for genre in render.GENRES:
        for seed in range(CLIPS):
            _write(home / "all", genre, seed)
        # Every second genre is rare.
        for seed in range(RARE_CLIPS if render.GENRES.index(genre) % 2 else CLIPS):
            _write(home / "rare", genre, seed)
        for seed in range(UNHEARD_CLIPS):
            _write(home / "unheard", genre, _UNHEARD_SEED + seed)
    for genre in render.GENRES[:5]:
        for seed in range(2 * CLIPS):
            _write(home / "before", genre, _BASE_SEED + seed)


def _write(root: Path, genre: str, seed: int) -> None:
    path = root / genre / f"{genre}.{seed:05}.flac"
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(render.encode(render.render(genre, seed, CLIP_S)))


def _pretrain(home: Path) -> None:
    command = ("--dataset", str(home / "before"), "--model_name_or_path", "tiny", "--random_crop", *_COMMON)
    train(
        *parse(
            "base", [*command, "--learning_rate", "1e-3", "--num_train_epochs", "8", "--output_dir", str(home / "base")]
        )
    )


def _run(home: Path, name: str, seed: int) -> Row:
    options = ["rare" if option == "rare" else option for option in VARIANTS[name]]
    if "--dataset" not in options:
        options += ["--dataset", "all"]
    options[options.index("--dataset") + 1] = str(home / options[options.index("--dataset") + 1])
    output_dir = home / f"{name}-{seed}".replace(" ", "-").replace(",", "")
    command = ["--model_name_or_path", str(home / "base" / "model"), *_COMMON, *options, "--seed", str(seed)]
    started = time.perf_counter()
    folder = train(*parse("variant", [*command, "--output_dir", str(output_dir)]))
    seconds = time.perf_counter() - started
    states = sorted(output_dir.glob("checkpoint-*/trainer_state.json"), key=lambda path: path.stat().st_mtime)
    epochs = json.loads(states[-1].read_text(encoding="utf-8"))["epoch"]
    clean, distorted = _test(home / "unheard", folder)
    return {"accuracy": clean, "distorted": distorted, "epochs": float(epochs), "seconds": seconds}


def _test(unheard: Path, folder: Path) -> tuple[float, float]:
    """Accuracy on all unheard clips, and on a third of them under each distortion."""
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    model = AutoModelForAudioClassification.from_pretrained(folder)
    predict = make_predictor(model, extractor, WindowSpec(extractor.sampling_rate, WINDOW_S))
    clips = list(_read(unheard, extractor.sampling_rate))
    genres = np.asarray([genre for genre, _ in clips])
    waveforms = [waveform for _, waveform in clips]
    clean = float(np.mean(predict(waveforms).argmax(axis=1) == genres))
    harms = conditions(extractor.sampling_rate)
    harmed = [predict([harms[name](waveform) for waveform in waveforms[::3]]).argmax(axis=1) for name in DISTORTED]
    return clean, float(np.mean([answered == genres[::3] for answered in harmed]))


def _read(root: Path, sampling_rate: int) -> Iterator[tuple[int, Waveform]]:
    for path in sorted(root.rglob("*.flac")):
        with open_audio(open_clip({"bytes": path.read_bytes(), "path": path.name})) as audio:
            yield render.GENRES.index(path.parent.name), audio.read(0.0, audio.duration_s, sampling_rate).waveform


def _table(runs: dict[str, list[Row]]) -> Section:
    rows: list[Row] = []
    for name, of_name in runs.items():
        row: Row = {"option": name}
        for figure in ("accuracy", "distorted"):
            values = [float(str(run[figure])) for run in of_name]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            row[figure] = f"{statistics.mean(values):.3f} +- {spread:.3f}"
        row["epochs"] = f"{statistics.mean(float(str(run['epochs'])) for run in of_name):.1f}"
        rows.append(row)
    return Section(
        "Options of the recipe, one at a time, on synthetic music",
        rows,
        [
            f"Mean and standard deviation over {len(SEEDS)} seeds, on {UNHEARD_CLIPS * len(render.GENRES)} unheard "
            f"clips, a third of them under each of {', '.join(DISTORTED)}."
        ],
    )


if __name__ == "__main__":
    main()
