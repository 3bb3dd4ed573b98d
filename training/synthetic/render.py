"""Synthetic music: rule-based clips of the ten GTZAN genres, to try out training where GTZAN cannot be had.

A figure measured on synthetic music says nothing about real music and must never be presented as a GTZAN figure.
"""

import io
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import midirenderer
import numpy as np
import numpy.typing as npt
import pretty_midi
import soundfile
import soxr

from training.synthetic.styles import BEATS_PER_BAR, KITS, QUALITIES, SCALES, STYLES, Groove, Part, Style

Format = Literal["flac", "mp3", "wav"]

GENRES: tuple[str, ...] = tuple(sorted(STYLES))

SAMPLING_RATE = 22_050
"""Hertz, as of GTZAN (https://huggingface.co/datasets/marsyas/gtzan)."""

# 1 dB below full scale, so that a lossy encoder further down has room to overshoot.
PEAK = 10 ** (-1 / 20)

NUMERALS = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}
DEGREES = {"1": 0, "3": 1, "5": 2, "7": 3}

# MIDI controllers, by the MIDI 1.0 specification.
VOLUME, REVERB = 7, 91


@dataclass(frozen=True)
class _Sheet:
    """Sheet that all players of one clip share: the key, the scale and one chord a bar."""

    bar_s: float
    key: int
    scale: tuple[int, ...]
    chords: tuple[str, ...]
    reverb: int


def render(genre: str, seed: int, duration_s: float = 30.0) -> npt.NDArray[np.float32]:
    """Make one clip: `round(duration_s * SAMPLING_RATE)` mono samples, peaking 1 dB below full scale.

    The same genre, seed and duration give the same clip, whatever was rendered before it. Raises ValueError when the
    genre is none of `GENRES`, or the duration is not positive and finite.
    """
    if genre not in STYLES:
        raise ValueError(f"unknown genre {genre!r}; the genres are {', '.join(GENRES)}")
    if not 0 < duration_s < math.inf:
        raise ValueError(f"the duration must be positive and finite, not {duration_s} s")
    style = STYLES[genre]
    # A string seeds through SHA-512, so that the draw is the same on any machine; hash() varies by process.
    draw = random.Random(f"{genre}/{seed}")  # noqa: S311 (music, no secret)
    samples = _synthesise(_compose(style, draw, duration_s))[: round(duration_s * SAMPLING_RATE)]
    return _master(samples, draw.uniform(*style.drive))


def encode(waveform: npt.NDArray[np.float32], format: Format = "flac") -> bytes:
    """Encode mono samples between -1 and 1, at `SAMPLING_RATE`; wav and flac get 16 bits."""
    file = io.BytesIO()
    soundfile.write(
        file, waveform, SAMPLING_RATE, format=format.upper(), subtype="MPEG_LAYER_III" if format == "mp3" else "PCM_16"
    )
    return file.getvalue()


def _compose(style: Style, draw: random.Random, duration_s: float) -> pretty_midi.PrettyMIDI:
    sheet = _write_sheet(style, draw, duration_s)
    song = pretty_midi.PrettyMIDI(initial_tempo=60 * BEATS_PER_BAR / sheet.bar_s)
    if style.grooves:
        song.instruments.append(_drum(style, sheet, draw))
    song.instruments += [_play(part, sheet, draw) for part in style.parts if draw.random() < part.presence]
    # The renderer stops at the last event. This one repeats a setting, late enough to let the last notes ring.
    song.instruments[0].control_changes.append(pretty_midi.ControlChange(REVERB, sheet.reverb, duration_s + 0.1))
    return song


def _write_sheet(style: Style, draw: random.Random, duration_s: float) -> _Sheet:
    bar_s = 60 * BEATS_PER_BAR / draw.uniform(*style.tempo)
    harmony = draw.choice(style.harmonies)
    progression = harmony.chords.split()
    # A clip is cut out of a longer piece, so it may open anywhere in the progression.
    first = draw.randrange(len(progression))
    bars = math.ceil(duration_s / bar_s)
    return _Sheet(
        bar_s=bar_s,
        key=draw.randrange(12),
        scale=SCALES[harmony.scale],
        chords=tuple(progression[(first + bar) % len(progression)] for bar in range(bars)),
        reverb=draw.randint(*style.reverb),
    )


def _drum(style: Style, sheet: _Sheet, draw: random.Random) -> pretty_midi.Instrument:
    program = KITS[draw.choice(style.kits)]
    drums = _instrument(program, style.drum_level, sheet, draw, is_drum=True)
    groove = draw.choice(style.grooves)
    for bar in range(len(sheet.chords)):
        drums.notes += _drum_bar(groove, bar * sheet.bar_s, sheet.bar_s, draw)
    return drums


def _drum_bar(groove: Groove, start: float, bar_s: float, draw: random.Random) -> Iterator[pretty_midi.Note]:
    for name, pattern in groove.items():
        pitch = pretty_midi.drum_name_to_note_number(name)
        for symbol, onset, length in _steps(pattern):
            if symbol == "x" or draw.random() < 0.5:
                loudness = 105 if symbol == "x" else 60
                yield _note(pitch, start + onset * bar_s, length * bar_s, loudness, draw)


def _play(part: Part, sheet: _Sheet, draw: random.Random) -> pretty_midi.Instrument:
    program = pretty_midi.instrument_name_to_program(draw.choice(part.instruments))
    player = _instrument(program, part.level, sheet, draw)
    # Two bars in turn, as a riff and its answer.
    phrase = draw.choices(part.patterns, k=2)
    melody = _wander(part.lowest, sheet, draw)
    for bar, chord in enumerate(sheet.chords):
        tones = _tones(chord, sheet.key, part.lowest)
        for symbol, onset, length in _steps(phrase[bar % 2]):
            start = (bar + onset) * sheet.bar_s
            pitches = [next(melody)] if symbol == "m" else _pick(symbol, tones)
            player.notes += [_note(pitch, start, length * sheet.bar_s, 95, draw) for pitch in pitches]
    return player


def _instrument(
    program: int, level: float, sheet: _Sheet, draw: random.Random, is_drum: bool = False
) -> pretty_midi.Instrument:
    instrument = pretty_midi.Instrument(program, is_drum=is_drum)
    volume = round(127 * level * draw.uniform(0.55, 1.0))
    instrument.control_changes += [
        pretty_midi.ControlChange(VOLUME, volume, 0.0),
        pretty_midi.ControlChange(REVERB, sheet.reverb, 0.0),
    ]
    return instrument


def _note(pitch: int, start: float, length: float, loudness: int, draw: random.Random) -> pretty_midi.Note:
    # Nobody plays on the grid: up to 8 ms late and a little louder or softer.
    late = draw.uniform(0.0, 0.008)
    return pretty_midi.Note(loudness + draw.randint(-12, 12), pitch, start + late, start + late + length)


def _steps(pattern: str) -> Iterator[tuple[str, float, float]]:
    """The symbol, onset and length of every note of a pattern, the last two as shares of the bar."""
    for note in re.finditer(r"([^.-])-*", pattern):
        yield note[1], note.start() / len(pattern), len(note[0]) / len(pattern)


def _tones(chord: str, key: int, lowest: int) -> list[int]:
    """The MIDI pitches of a chord in root position, its root within an octave from `lowest`."""
    spelling = re.fullmatch(r"(b?)([IV]+)(.*)", chord)
    if spelling is None:
        raise ValueError(f"not a chord: {chord!r}")
    flat, numeral, quality = spelling.groups()
    root = lowest + (key + NUMERALS[numeral] - len(flat) - lowest) % 12
    return [root + interval for interval in QUALITIES[quality]]


def _pick(symbol: str, tones: list[int]) -> list[int]:
    if symbol == "x":
        return tones
    if symbol == "8":
        return [tones[0] + 12]
    return [tones[min(DEGREES[symbol], len(tones) - 1)]]


def _wander(lowest: int, sheet: _Sheet, draw: random.Random) -> Iterator[int]:
    """An endless melody over an octave and a half of the scale, mostly by steps."""
    ladder = [pitch for pitch in range(lowest, lowest + 18) if (pitch - sheet.key) % 12 in sheet.scale]
    rung = len(ladder) // 2
    while True:
        yield ladder[rung]
        rung = min(max(rung + draw.choice((-2, -1, -1, 0, 1, 1, 2)), 0), len(ladder) - 1)


def _synthesise(song: pretty_midi.PrettyMIDI) -> npt.NDArray[np.float32]:
    midi = io.BytesIO()
    song.write(midi)
    # A fresh synthesiser for every clip: one that is kept would let the tail of a clip ring into the next.
    wave = midirenderer.render_wave_from(_sound_font(), midi.getvalue())
    stereo, rate = soundfile.read(io.BytesIO(wave), dtype="float32")
    mono: npt.NDArray[np.float32] = soxr.resample(stereo.mean(axis=1), rate, SAMPLING_RATE)
    return mono


@cache
def _sound_font() -> bytes:
    # Read where pretty_midi installed it: TimGM6mb is GPL-2, so it is never copied into this repository.
    return resources.files(pretty_midi).joinpath("TimGM6mb.sf2").read_bytes()


def _master(samples: npt.NDArray[np.float32], drive: float) -> npt.NDArray[np.float32]:
    """Saturate like a mastering limiter, then bring the peak to `PEAK`."""
    loud = np.tanh(drive * samples / np.abs(samples).max())
    mastered: npt.NDArray[np.float32] = (PEAK * loud / np.abs(loud).max()).astype(np.float32)
    return mastered
