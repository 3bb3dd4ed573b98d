"""How well a model repo tells unfamiliar recordings: `python -m tests.benchmarks.familiarity MODEL [--real FOLDER]`.

Unseen synthetic clips are familiar to a model of `make demo`. Real recordings, speech and noise are not. Speech needs
espeak-ng. Real recordings are files of yours, such as those of Debian's packages of game music: two clips of each.
"""

import argparse
import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sklearn.metrics

from service.audio import Waveform, normalise, open_audio, read_recording
from service.errors import AudioError
from service.model.artefact import Artefact, read_artefact
from service.model.familiarity import Familiarity, describe
from service.model.graphs.locate import locate
from service.model.graphs.runner import GraphRunner, best_precision
from service.runtime.resources import available_cpus
from tests.support.audio_files import encode
from training.synthetic.render import GENRES, SAMPLING_RATE, render

_FIRST_SEED = 3_000_000
_CLIP_S = 10.0
_MAX_WINDOWS = 3
_FALSE_ALARMS = 0.05
_PLACES = (0.25, 0.6)
_VOICES = ("en-us", "en-gb", "de", "fr", "es", "it", "sv", "pl")
_TEXTS = (
    "The quick brown fox jumps over the lazy dog, and then the rain began to fall on the quiet town.",
    "Please stand behind the yellow line. The next train to the harbour leaves from platform seven at nine fifteen.",
    "We measured the temperature of the water each morning, and wrote it down in a small green book.",
    "Good evening, and welcome to the news. The council has decided to build a new bridge over the river.",
)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a model folder, such as runs/demo/model")
    parser.add_argument("--real", type=Path, help="a folder of real recordings")
    parser.add_argument("--clips-per-genre", type=int, default=20, help="unseen synthetic clips (20)")
    parser.add_argument("--duration-s", type=float, default=7.0, help="of these clips (7)")
    options = parser.parse_args()
    scorer = _Scorer(read_artefact(options.model, model_id=options.model.name, revision=None))
    seeds = range(_FIRST_SEED, _FIRST_SEED + options.clips_per_genre)
    clips = (render(genre, seed, options.duration_s) for genre in GENRES for seed in seeds)
    unseen = scorer.score(encode(clip, "flac", SAMPLING_RATE) for clip in clips)
    others = {"noise and tones": scorer.score(_noise())}
    if shutil.which("espeak-ng"):
        others["speech"] = scorer.score(_speech())
    if options.real:
        others["real music"] = scorer.score(_real(options.real))
    strict = np.quantile(unseen, 1 - _FALSE_ALARMS)
    threshold = scorer.known.threshold
    print("| recordings | n | AUROC | told at 5 % false alarms | told by the repo's threshold |\n|---|---|---|---|---|")  # noqa: T201
    print(f"| unseen synthetic music | {len(unseen)} | | 0.050 | {np.mean(unseen > threshold):.3f} |")  # noqa: T201
    for name, found in others.items():
        auroc = sklearn.metrics.roc_auc_score(np.repeat([0, 1], [len(unseen), len(found)]), [*unseen, *found])
        told = f"{np.mean(found > strict):.3f} | {np.mean(found > threshold):.3f}"
        print(f"| {name} | {len(found)} | {auroc:.3f} | {told} |")  # noqa: T201


class _Scorer:
    """Distances of encoded recordings from the music that a model knows, as the service computes them."""

    def __init__(self, artefact: Artefact) -> None:
        if artefact.familiarity is None:
            raise SystemExit("This model repo does not say what known music looks like.")
        self.known: Familiarity = artefact.familiarity
        self._artefact = artefact
        graphs = locate(artefact).graphs
        self._runner = GraphRunner(graphs, artefact.window.samples, available_cpus(), best_precision())

    def score(self, recordings: Iterator[bytes]) -> np.ndarray:
        """float64 (recordings,)."""
        return np.asarray([self._distance(recording) for recording in recordings])

    def _distance(self, recording: bytes) -> float:
        window = self._artefact.window
        described = []
        for waveform in read_recording(io.BytesIO(recording), window, max_windows=_MAX_WINDOWS).windows:
            heard = normalise(waveform) if self._artefact.do_normalize else waveform
            _, embedding = self._runner.infer(heard[None])
            described.append(describe(waveform, window.sampling_rate, None if embedding is None else embedding[0]))
        return float(self.known.distances(np.mean(described, axis=0)).min())


def _real(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".flac", ".mp3", ".ogg", ".opus", ".wav"}:
            continue
        try:
            with path.open("rb") as file, open_audio(file) as audio:
                if audio.duration_s < 2 * _CLIP_S:
                    continue
                for place in _PLACES:
                    clip = audio.read(place * audio.duration_s, _CLIP_S, SAMPLING_RATE).waveform
                    if clip.std() > 1e-3:
                        yield encode(clip, "flac", SAMPLING_RATE)
        except AudioError:
            continue


def _speech() -> Iterator[bytes]:
    for voice in _VOICES:
        for index, text in enumerate(_TEXTS):
            command = ["espeak-ng", "-v", voice, "-s", f"{130 + 15 * index}", "-p", f"{20 + 15 * index}", "--stdout"]
            yield subprocess.run([*command, text], capture_output=True, check=True).stdout


def _noise() -> Iterator[bytes]:
    """White, pink and red noise, and tones of 100 Hz to 3.2 kHz."""
    samples = round(_CLIP_S * SAMPLING_RATE)
    hertz = np.fft.rfftfreq(samples, 1 / SAMPLING_RATE).clip(min=20)
    for seed in range(10):
        white = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
        for slope in (0.0, 0.5, 1.0):
            yield encode(_peaking(np.fft.irfft(white / hertz**slope, samples)), "flac", SAMPLING_RATE)
    for octave in range(6):
        tone = np.sin(2 * np.pi * 100 * 2**octave * np.arange(samples) / SAMPLING_RATE)
        yield encode(_peaking(tone), "flac", SAMPLING_RATE)


def _peaking(waveform: np.ndarray) -> Waveform:
    peaking: Waveform = (0.8 * waveform / np.abs(waveform).max()).astype(np.float32)
    return peaking


if __name__ == "__main__":
    main()
