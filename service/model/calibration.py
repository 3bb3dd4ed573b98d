"""Calibration: from logits to the probabilities that are served and measured."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Float = TypeVar("Float", np.float32, np.float64)


def calibrated_probabilities(logits: npt.NDArray[Float], temperature: float) -> npt.NDArray[Float]:
    """softmax(logits / temperature) over the last axis (Guo et al., "On Calibration of Modern Neural Networks", 2017).

    Returns the shape and type of the logits; each row sums to 1.
    """
    scaled = logits / logits.dtype.type(temperature)
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: npt.NDArray[Float] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities
