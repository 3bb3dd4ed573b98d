"""The interface of a backend: windows in, probabilities and embeddings out."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Windows = npt.NDArray[np.float32]
"""float32 (n, window samples), mono at the model's rate."""

Probabilities = npt.NDArray[np.float32]
"""float32 (n, labels), calibrated, columns in the order of the artefact's labels."""

Logits = npt.NDArray[np.float32]
"""float32 (n, labels): what the probabilities are made of, not calibrated."""

Embeddings = npt.NDArray[np.float32]
"""float32 (n, dimensions): what the model's classifier gets, pooled over each window's time."""


@dataclass(frozen=True)
class Outputs:
    """The outputs of a model for n windows.

    embeddings: None of a model without one linear classifier, and of graphs that earlier versions exported.
    logits: None of a backend that answers none.
    """

    probabilities: Probabilities
    embeddings: Embeddings | None = None
    logits: Logits | None = None

    def of(self, index: int) -> "Outputs":
        """The outputs for one window of them: rows in place of matrices."""
        embeddings = None if self.embeddings is None else self.embeddings[index]
        logits = None if self.logits is None else self.logits[index]
        return Outputs(self.probabilities[index], embeddings, logits)


class Backend(Protocol):
    """Computes a model on a device. Blocks; one thread calls it."""

    name: str
    """Name for `/model` and the metrics, such as `openvino-bf16`."""

    note: str | None
    """Why the model is not computed in the best way there is; None where it is."""

    max_batch: int
    """Windows that are worth computing together on this device."""

    def infer(self, windows: Windows) -> Outputs:
        """The outputs for windows that are normalised as the model wants them. A row never depends on its batch."""
