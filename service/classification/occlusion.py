"""Evidence by occlusion: silence a part of a window, and see how much less probable its genre becomes.

Zeiler and Fergus, Visualizing and Understanding Convolutional Networks (2014), section 4.2, with seconds for pixels.
"""

from dataclasses import dataclass

import numpy as np

from service.audio import Waveform, Window, pad_to_length
from service.inference.engine import Engine

SEGMENTS = 15
"""Parts of a window, each silenced once: two seconds each in a window of 30 s."""

_FADE_S = 0.01


@dataclass(frozen=True)
class Segment:
    """A part of a window. probability_drop: what the genre loses without it, -1..1; negative if it speaks against."""

    start_s: float
    end_s: float
    probability_drop: float


@dataclass(frozen=True)
class Evidence:
    """Evidence for a genre in a window. probability: of `genre` in the whole window. segments: end to end."""

    genre: str
    probability: float
    segments: tuple[Segment, ...]


async def occlude(engine: Engine, window: Window, genre: str) -> Evidence:
    """The evidence for one of the model's genres in a window, at the cost of `SEGMENTS` + 1 windows.

    A short recording fills its window by repetition, and is silenced at the same place in each repetition.
    """
    column = engine.artefact.labels.index(genre)
    rate = engine.artefact.window.sampling_rate
    samples = max(1, round((window.end_s - window.start_s) * rate))
    bounds = np.linspace(0, samples, SEGMENTS + 1).round().astype(int)
    whole = float((await engine.probabilities(window.waveform[None]))[0, column])
    segments = []
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        mask = _mask(samples, start, end, round(_FADE_S * rate))
        without = window.waveform * pad_to_length(mask, len(window.waveform))
        left = float((await engine.probabilities(without[None]))[0, column])
        segments.append(Segment(window.start_s + start / rate, window.start_s + end / rate, whole - left))
    return Evidence(genre, whole, tuple(segments))


def _mask(samples: int, start: int, end: int, fade: int) -> Waveform:
    """float32 (samples,): 1 outside of start..end and 0 inside, faded, as a click would be evidence itself."""
    outside = np.arange(samples)
    distance = np.maximum(start - outside, outside - (end - 1))
    mask: Waveform = np.clip(distance / fade, 0, 1).astype(np.float32)
    return mask
