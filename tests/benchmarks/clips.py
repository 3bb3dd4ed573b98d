"""The recordings: synthetic music as mp3."""

import numpy as np

from tests.support.audio_files import encode, encode_av
from training.synthetic.render import GENRES, SAMPLING_RATE, render

CLIP_S = 30.0


def clips() -> list[bytes]:
    """One mp3 of 30 s of each genre, at 22.05 kHz as in GTZAN."""
    return [encode(render(genre, seed=0, duration_s=CLIP_S), "mp3", SAMPLING_RATE) for genre in GENRES]


def recording(duration_s: float) -> bytes:
    """An mp3 of about that length: one of 30 s (or less) at 128 kbit/s, its frames repeated."""
    part_s = min(CLIP_S, duration_s)
    waveform = np.asarray(render("rock", seed=0, duration_s=part_s), np.float32)
    # No header that names the length of the first part.
    part = encode_av(waveform, "mp3", "libmp3lame", SAMPLING_RATE, write_xing="0", id3v2_version="0")
    return part * round(duration_s / part_s)
