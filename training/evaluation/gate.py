"""Push gate: whether a new model is worse than the one on the branch, by the same held-out clips."""

from dataclasses import dataclass

import datasets
import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoFeatureExtractor

from service.model.artefact import Artefact
from service.model.weights import load_model
from training.evaluation import metrics
from training.evaluation.robustness import make_predictor, read_clip

_BATCH_CLIPS = 8


@dataclass(frozen=True)
class Verdict:
    """A new model against the current one on the same n clips.

    current: commit of the current model. new_accuracy and current_accuracy: in 0..1. low and high: the 95 % interval of
    their difference, new - current, from a paired bootstrap over the clips.
    """

    current: str
    n: int
    new_accuracy: float
    current_accuracy: float
    low: float
    high: float

    @property
    def passed(self) -> bool:
        """Whether the new model is not worse beyond noise: no difference, or a better one, lies in the interval."""
        return self.high >= 0

    def __str__(self) -> str:
        return (
            f"accuracy {self.new_accuracy:.3f} against {self.current_accuracy:.3f} of the current model, commit "
            f"{self.current[:12]}, on the same {self.n} held-out clips; the difference is in "
            f"[{self.low:+.3f}, {self.high:+.3f}] (95 % interval, paired bootstrap)"
        )


def judge(new: Artefact, current: Artefact, clips: datasets.Dataset, genres: list[str]) -> Verdict:
    """Answer clips with both models, up to three windows of each as the service does, and compare.

    clips: columns audio and genre, an index into `genres`. The models may order the genres otherwise.
    """
    new_right, current_right = (_right_answers(artefact, clips, genres) for artefact in (new, current))
    difference = new_right.astype(float) - current_right
    low, high = metrics.bootstrap_interval(lambda drawn: float(difference[drawn].mean()), len(difference))
    return Verdict(current.revision, len(difference), float(new_right.mean()), float(current_right.mean()), low, high)


def _right_answers(artefact: Artefact, clips: datasets.Dataset, genres: list[str]) -> npt.NDArray[np.bool_]:
    """Whether the best genre is the true one, bool (clips,)."""
    model = load_model(artefact)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    extractor = AutoFeatureExtractor.from_pretrained(artefact.folder, local_files_only=True)
    predict = make_predictor(model.to(device), extractor, artefact.window)
    rate = artefact.window.sampling_rate
    right = []
    for batch in clips.iter(_BATCH_CLIPS):
        best = predict([read_clip(audio, rate) for audio in batch["audio"]]).argmax(axis=-1)
        right += [artefact.labels[one] == genres[genre] for one, genre in zip(best, batch["genre"], strict=True)]
    return np.asarray(right)
