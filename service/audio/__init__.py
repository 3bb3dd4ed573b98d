"""The audio front end: an audio file becomes mono float32 waveforms at the model's rate, and windows of its length.

Training and serving share this package, so that a model is trained on the samples it is served.
"""

from service.audio.downmix import Waveform
from service.audio.files import AudioFile
from service.audio.opening import open_audio
from service.audio.quality import WARNING_CODES, AudioWarning, Quality, WarningCode
from service.audio.windows import (
    DEFAULT_MAX_WINDOWS,
    MIN_DURATION_S,
    SILENCE_STD,
    TAIL_TOLERANCE,
    Placement,
    ReadPosition,
    Recording,
    Window,
    WindowReader,
    WindowSpec,
    normalise,
    pad_to_length,
    read_recording,
    timeline_starts,
    window_starts,
)
from service.errors import AudioError

__all__ = [
    "DEFAULT_MAX_WINDOWS",
    "MIN_DURATION_S",
    "SILENCE_STD",
    "TAIL_TOLERANCE",
    "WARNING_CODES",
    "AudioError",
    "AudioFile",
    "AudioWarning",
    "Placement",
    "Quality",
    "ReadPosition",
    "Recording",
    "Waveform",
    "Window",
    "WarningCode",
    "WindowReader",
    "WindowSpec",
    "pad_to_length",
    "normalise",
    "open_audio",
    "read_recording",
    "timeline_starts",
    "window_starts",
]
