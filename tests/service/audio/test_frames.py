"""Frames of a decoder are joined without losing a sample, and never across a change."""

from collections.abc import Iterator

import av
import numpy as np
import pytest

from service.audio.frames import TimedFrame, join_frames, samples_of

_RATE = 8_000


def frame(
    samples: int, layout: str = "stereo", format: str = "fltp", rate: int = _RATE, first: float = 0.0
) -> av.AudioFrame:
    """A frame that counts its samples from `first`, in all channels."""
    channels = av.AudioLayout(layout).nb_channels
    values = np.tile(np.arange(first, first + samples, dtype=np.float32), (channels, 1))
    if format == "flt":
        values = np.ascontiguousarray(values.T).reshape(1, -1)
    made = av.AudioFrame.from_ndarray(values, format=format, layout=layout)
    made.sample_rate = rate
    return made


def timed(*frames: av.AudioFrame) -> Iterator[TimedFrame]:
    return ((float(second), one) for second, one in enumerate(frames))


@pytest.mark.parametrize("format", ["fltp", "flt"])
def test_samples_are_those_of_the_frames(format: str) -> None:
    lengths = [1_152] * 20 + [7]
    starts = np.cumsum([0, *lengths])
    frames = [frame(length, format=format, first=start) for length, start in zip(lengths, starts, strict=False)]
    joined = list(join_frames(timed(*frames)))
    assert len(joined) == 3
    assert [second for second, _ in joined] == [0.0, 8.0, 16.0]
    samples = np.concatenate([samples_of(one) for _, one in joined], axis=1)
    np.testing.assert_array_equal(samples, [np.arange(sum(lengths), dtype=np.float32)] * 2)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (frame(100), frame(100, layout="5.1")),
        (frame(100), frame(100, layout="mono")),
        (frame(100, layout="3.0"), frame(100, layout="2.1")),
        (frame(100), frame(100, format="flt")),
        (frame(100), frame(100, rate=16_000)),
    ],
    ids=["more channels", "fewer channels", "other places", "other format", "other rate"],
)
def test_a_change_begins_another_frame(first: av.AudioFrame, other: av.AudioFrame) -> None:
    joined = list(join_frames(timed(first, other, first)))
    kinds = [(one.layout.name, one.format.name, one.sample_rate) for _, one in joined]
    assert kinds[0] == kinds[2] != kinds[1]
    assert [samples_of(one).shape[1] for _, one in joined] == [100, 100, 100]


def test_what_was_decoded_before_an_error_comes_before_it() -> None:
    def broken() -> Iterator[TimedFrame]:
        yield 0.0, frame(100)
        raise av.InvalidDataError(1, "broken")

    joined = join_frames(broken())
    assert next(joined)[1].samples == 100
    with pytest.raises(av.InvalidDataError):
        next(joined)


def test_no_frames_give_none() -> None:
    assert list(join_frames(timed())) == []
