"""Audio files of every accepted format, made on the spot."""

import io

import av
import numpy as np
import numpy.typing as npt
import soundfile

Waveform = npt.NDArray[np.float32]

SOUNDFILE_FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "au": ("AU", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
}
AV_FORMATS = {
    "m4a": ("ipod", "aac"),
    "aac": ("adts", "aac"),
    "webm": ("webm", "libopus"),
    "wma": ("asf", "wmav2"),
    "mp4": ("mp4", "aac"),
    "mka": ("matroska", "aac"),
}
FORMATS = (*SOUNDFILE_FORMATS, *AV_FORMATS)


def sweep(duration_s: float, sampling_rate: int = 48_000) -> Waveform:
    """float32 (samples,): a tone that rises with time, so that a misplaced window does not correlate, over noise."""
    time_s = np.arange(round(duration_s * sampling_rate)) / sampling_rate
    noise = np.random.default_rng(0).standard_normal(len(time_s))
    waveform: Waveform = (0.3 * np.sin(2 * np.pi * (200 + 10 * time_s) * time_s) + 0.02 * noise).astype(np.float32)
    return waveform


def encode(waveform: Waveform, format: str, sampling_rate: int = 48_000) -> bytes:
    """The waveform, (samples,) or (samples, channels), as a file of one of `FORMATS`."""
    if format in SOUNDFILE_FORMATS:
        return encode_soundfile(waveform, *SOUNDFILE_FORMATS[format], sampling_rate)
    return encode_av(waveform, *AV_FORMATS[format], sampling_rate)


def encode_av(waveform: Waveform, container: str, codec: str, sampling_rate: int = 48_000, **options: str) -> bytes:
    """The waveform as FFmpeg's muxer and encoder of these names write it."""
    file = io.BytesIO()
    channels = np.atleast_2d(waveform.T)
    layout = "mono" if len(channels) == 1 else "stereo"
    with av.open(file, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=sampling_rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), format="fltp", layout=layout)
        frame.sample_rate = sampling_rate
        encoder = stream.codec_context
        split = av.AudioResampler(encoder.format, layout, sampling_rate, encoder.frame_size or 1024)
        for part in (*split.resample(frame), *split.resample(None)):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


def encode_soundfile(waveform: Waveform, format: str, subtype: str, sampling_rate: int) -> bytes:
    """The waveform as libsndfile writes it in a format and a subtype of these names."""
    file = io.BytesIO()
    channels = 1 if waveform.ndim == 1 else waveform.shape[1]
    with soundfile.SoundFile(file, "w", sampling_rate, channels, subtype, format=format) as output:
        # libsndfile's Vorbis encoder overflows the stack when it is given a long recording at once.
        for start in range(0, len(waveform), sampling_rate):
            output.write(waveform[start : start + sampling_rate])
    return file.getvalue()
