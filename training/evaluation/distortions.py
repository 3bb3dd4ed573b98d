"""Distortions of a recording between the studio and an upload.

Every function takes and gives a waveform, float32 (samples,), mono, full scale at 1.0, and leaves its input as it was.
All but `tempo` keep the length. The same `rng` state gives the same result.
"""

import io

import av
import numpy as np
import soundfile
import soxr
from av.filter import Graph

from service.audio import Waveform

# The band of a telephone line (ITU-T G.712).
_TELEPHONE_HZ = (300, 3_400)
# The Q of the three second-order sections of a sixth-order Butterworth filter: 1 / (2 cos(k pi / 12)), k = 1, 3, 5.
_BUTTERWORTH = (0.5176, 0.7071, 1.9319)
# LAME's fast setting: half the time of its default, which would slow down training.
_LAME = {"compression_level": "7"}


def mp3(waveform: Waveform, sampling_rate: int, kbps: int = 64) -> Waveform:
    """Encoded as mp3 (LAME) and decoded again, aligned with the input.

    sampling_rate: one that mp3 has, which are 8,000, 11,025, 12,000 and twice and four times these. Raises
    av.FFmpegError at any other.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=sampling_rate, layout="mono", options=_LAME)
        stream.bit_rate = kbps * 1_000
        encoder = stream.codec_context
        split = av.AudioResampler(encoder.format, "mono", sampling_rate, encoder.frame_size)
        for part in (*split.resample(_frame(waveform, sampling_rate)), *split.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    file.seek(0)
    # The decoder cuts off what LAME's header says that the encoder put around the music.
    decoded: Waveform = soundfile.read(file, dtype="float32")[0]
    return _fit(decoded, len(waveform))


def phone_band(waveform: Waveform, sampling_rate: int) -> Waveform:
    """Only 300 to 3,400 Hz: 36 dB less in each octave beyond. sampling_rate: over 6,800 Hz."""
    edges = zip(("highpass", "lowpass"), _TELEPHONE_HZ, strict=True)
    filters = [
        (name, f"frequency={frequency_hz}:width_type=q:width={q}") for name, frequency_hz in edges for q in _BUTTERWORTH
    ]
    return _fit(_filtered(waveform, sampling_rate, filters), len(waveform))


def noise(waveform: Waveform, snr_db: float, rng: np.random.Generator) -> Waveform:
    """White Gaussian noise added, `snr_db` below the mean power of the waveform."""
    level = np.sqrt(np.mean(np.square(waveform))) * 10 ** (-snr_db / 20)
    return waveform + np.float32(level) * rng.standard_normal(len(waveform), np.float32)


def pitch_shift(waveform: Waveform, sampling_rate: int, semitones: float) -> Waveform:
    """Higher or lower at the same tempo: played faster by resampling (soxr HQ), then stretched back."""
    ratio = 2 ** (semitones / 12)
    faster = soxr.resample(waveform, ratio * sampling_rate, sampling_rate, quality="HQ")
    return _fit(tempo(faster, sampling_rate, 1 / ratio), len(waveform))


def tempo(waveform: Waveform, sampling_rate: int, factor: float) -> Waveform:
    """Faster (factor over 1) or slower at the same pitch, by FFmpeg's `atempo` (WSOLA).

    factor: 0.5 to 100. Returns round(samples / factor) samples.
    """
    stretched = _filtered(waveform, sampling_rate, [("atempo", f"tempo={factor}")])
    return _fit(stretched, round(len(waveform) / factor))


def _filtered(waveform: Waveform, sampling_rate: int, filters: list[tuple[str, str]]) -> Waveform:
    """The waveform through a chain of FFmpeg's audio filters, each a name and its options."""
    graph = Graph()
    source = graph.add_abuffer(sample_rate=sampling_rate, format="fltp", layout="mono")
    graph.link_nodes(source, *(graph.add(*each) for each in filters), graph.add("abuffersink")).configure()
    graph.push(_frame(waveform, sampling_rate))
    graph.push(None)
    blocks: list[Waveform] = []
    while True:
        try:
            block = graph.pull()
        except av.EOFError:
            return np.concatenate(blocks)
        assert isinstance(block, av.AudioFrame)
        blocks.append(block.to_ndarray()[0])


def _frame(waveform: Waveform, sampling_rate: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform[None]), format="fltp", layout="mono")
    frame.sample_rate = sampling_rate
    return frame


def _fit(waveform: Waveform, samples: int) -> Waveform:
    """Cut, or followed by silence: a stretched waveform ends some milliseconds off."""
    return np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))
