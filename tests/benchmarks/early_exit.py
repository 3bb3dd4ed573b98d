"""What early exit saves, on a trained model: `python -m tests.benchmarks.early_exit runs/demo/model [CLIPS]`.

Synthetic music that no model was trained on, 30 s a clip. The genre is the same by the rule; fewer windows are heard.
"""

import io
import sys
from pathlib import Path

import numpy as np

from service.audio import WindowSpec, normalise, read_recording
from service.classification.aggregation import WindowProbabilities as Probabilities
from service.classification.classifier import can_exit_early
from service.inference.loading import load_backend
from service.model.artefact import read_artefact
from service.runtime.resources import available_cpus
from tests.benchmarks.report import Row, Section
from training.synthetic.render import GENRES, encode, render

_FIRST_SEED = 2_000_000
_DURATION_S = 30.0


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100
    artefact = read_artefact(folder, model_id=folder.name, revision=None)
    backend = load_backend("auto", artefact, available_cpus())
    clips = [encode(render(GENRES[n % len(GENRES)], _FIRST_SEED + n, _DURATION_S)) for n in range(count)]
    rows: list[Row] = []
    for windows in (3, 5, 10):
        heard: list[int] = []
        same: list[bool] = []
        for clip in clips:
            recording = read_recording(
                io.BytesIO(clip),
                WindowSpec(artefact.window.sampling_rate, artefact.window.length_s),
                max_windows=windows,
            )
            answers = list(backend.probabilities(np.stack([normalise(window) for window in recording.windows])))
            stop = _stop(answers)
            heard.append(stop)
            same.append(bool(np.mean(answers[:stop], axis=0).argmax() == np.mean(answers, axis=0).argmax()))
        rows.append(
            {"max_windows": windows, "windows heard": float(np.mean(heard)), "same genre": float(np.mean(same))}
        )
    remark = f"{count} synthetic clips of {_DURATION_S:g} s, windows of {artefact.window.length_s:g} s, {backend.name}."
    sys.stdout.write(f"{Section('Early exit', rows, [remark]).markdown()}\n")


def _stop(answers: list[Probabilities]) -> int:
    """After how many windows the service stops."""
    return next(
        n for n in range(1, len(answers) + 1) if n == len(answers) or can_exit_early(answers[:n], len(answers) - n)
    )


if __name__ == "__main__":
    main()
