"""Predictions of a model: logits of windows, and probabilities of clips as the service answers them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.model.calibration import calibrated_probabilities

Probabilities = npt.NDArray[np.float64]
"""float64 (clips, genres), rows sum to 1."""

Labels = npt.NDArray[np.int64]
"""int64 (clips,): indices of genres."""


@dataclass(frozen=True)
class Predictions:
    """Logits of the windows of some clips.

    logits: float32 (windows, genres). clips: int64 (windows,), the index of the clip that a window belongs to,
    ascending. references: int64 (clips,), the true genres.
    """

    logits: npt.NDArray[np.float32]
    clips: npt.NDArray[np.int64]
    references: Labels

    def probabilities(self, temperature: float = 1.0) -> Probabilities:
        """The mean over a clip's windows of softmax(logits / temperature): what the service answers."""
        sums = np.zeros((len(self.references), self.logits.shape[1]))
        np.add.at(sums, self.clips, calibrated_probabilities(self.logits.astype(np.float64), temperature))
        means: Probabilities = sums / np.bincount(self.clips, minlength=len(self.references))[:, None]
        return means

    def select(self, chosen: Labels) -> "Predictions":
        """Predictions of some clips, given by ascending indices."""
        kept = np.isin(self.clips, chosen)
        return Predictions(self.logits[kept], np.searchsorted(chosen, self.clips[kept]), self.references[chosen])
