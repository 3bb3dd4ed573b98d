"""Calibration: from logits to the probabilities that are served and measured."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Float = TypeVar("Float", np.float32, np.float64)


def calibrated_probabilities(
    logits: npt.NDArray[Float], temperature: float, *, is_multi_label: bool = False
) -> npt.NDArray[Float]:
    """softmax(logits / temperature) over the last axis (Guo et al., "On Calibration of Modern Neural Networks", 2017).

    is_multi_label: each label is a question of its own, answered by a sigmoid in place of the softmax.
    Returns the shape and type of the logits; each row sums to 1, but for multi-label models.
    """
    scaled = logits / logits.dtype.type(temperature)
    if is_multi_label:
        # The sigmoid by way of tanh, which does not overflow.
        return np.asarray((np.tanh(scaled / 2) + 1) / 2, logits.dtype)
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: npt.NDArray[Float] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities
