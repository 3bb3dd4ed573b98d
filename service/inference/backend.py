"""The interface of a backend: windows in, probabilities out."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Windows = npt.NDArray[np.float32]
"""float32 (n, window samples), mono at the model's rate."""

Probabilities = npt.NDArray[np.float32]
"""float32 (n, labels), calibrated, columns in the order of the artefact's labels."""


class Backend(Protocol):
    """Computes a model on a device. Blocks; one thread calls it."""

    name: str
    """Name for `/model` and the metrics, such as `openvino-bf16`."""

    max_batch: int
    """Windows that are worth computing together on this device."""

    def probabilities(self, windows: Windows) -> Probabilities:
        """Probabilities of windows that are normalised as the model wants them. A row never depends on its batch."""
