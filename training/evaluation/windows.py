"""A waveform becomes the windows that the service would cut from a file of the same samples."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from service.audio import AudioFile, Waveform, WindowReader, WindowSpec, pad_to_length
from service.audio.files import Block

Windows = npt.NDArray[np.float32]
"""float32 (n, window samples), n >= 1, not normalised."""


def windows_of(waveform: Waveform, window: WindowSpec, *, max_windows: int) -> Windows:
    """The windows of a whole recording, as `service.audio.read_recording` gives them: evenly spread, at most
    `max_windows`, silent ones left out, a short recording repeated.

    waveform: float32 (samples,), mono, at the rate of `window`.

    Where the service would refuse (silence all through, under half a second), this gives the beginning as it is: an
    evaluation must not stop at one clip.
    """
    audio = _Samples(waveform, window.sampling_rate)
    reader = WindowReader(audio, window)
    windows = [excerpt.waveform for start_s in reader.starts(max_windows) if (excerpt := reader.read(start_s))]
    return np.stack(windows or [pad_to_length(waveform, window.samples)])


class _Samples(AudioFile):
    """A waveform in memory, read by the front end as if it were a file."""

    channels = 1

    def __init__(self, waveform: Waveform, sampling_rate: int) -> None:
        self.sampling_rate = sampling_rate
        self.duration_s = len(waveform) / sampling_rate
        self._waveform = waveform

    def blocks(self, start_s: float) -> Iterator[Block]:
        yield Block(self._waveform[None, round(start_s * self.sampling_rate) :], self.sampling_rate)

    def close(self) -> None:
        """Do nothing: no file is open."""
