"""Frames as FFmpeg decodes them: joined into longer ones, and as samples."""

from collections.abc import Iterator

import av
import numpy as np

from service.audio.downmix import Channels

# At least so many samples are joined. A frame of mp3 has 1,152, and each array that is made of one costs microseconds,
# as much as its decoding: 30 s take a third less time so (`python -m tests.benchmarks --only decode`).
_JOINED_SAMPLES = 8_192
# Full scale of FFmpeg's integer samples; floats have 1.0.
_FULL_SCALE = {"u8": 1 << 7, "s16": 1 << 15, "s32": 1 << 31, "s64": 1 << 63}

TimedFrame = tuple[float, av.AudioFrame]
"""The second at which a frame begins, and the frame."""


def join_frames(frames: Iterator[TimedFrame]) -> Iterator[TimedFrame]:
    """The same samples in fewer frames; those that differ in format, channels or rate are kept apart.

    What was decoded before an exception of `frames` comes before it.
    """
    fifo, kind, begin_s = av.AudioFifo(), None, 0.0
    try:
        for time_s, frame in frames:
            # Compared here, as a queue trusts that each frame has as many channels as its first.
            new_kind = frame.format.name, frame.layout.name, frame.sample_rate
            if new_kind != kind or fifo.samples >= _JOINED_SAMPLES:
                yield from _all_of(fifo, begin_s)
                begin_s = time_s
            if new_kind != kind:
                fifo, kind = av.AudioFifo(), new_kind
            # A queue refuses time stamps with gaps.
            frame.pts = None
            fifo.write(frame)
    except Exception:
        yield from _all_of(fifo, begin_s)
        raise
    yield from _all_of(fifo, begin_s)


def _all_of(fifo: av.AudioFifo, begin_s: float) -> Iterator[TimedFrame]:
    if frame := fifo.read():
        yield begin_s, frame


def samples_of(frame: av.AudioFrame) -> Channels:
    """float32 (channels, samples), full scale at 1, of a frame of any sample format."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(frame.samples, -1).T
    name = frame.format.name.removesuffix("p")
    samples: Channels = values.astype(np.float32, copy=False)
    if scale := _FULL_SCALE.get(name):
        samples = samples / np.float32(scale)
    return samples - np.float32(1) if name == "u8" else samples
