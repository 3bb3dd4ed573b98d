"""Recordings as people have them: what is heard of each. One row is one file, of a kind of which there are many."""

import io
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import soxr

from service.audio import Recording, WindowSpec, read_recording
from service.errors import AudioError, SilentAudio, UndecodableAudio, UnsupportedMedia
from tests.field import recipes
from tests.field.recipes import RATE, SECONDS, joined, music, of_length, silence, stereo, tagged, tracks, unknown_codec
from tests.support.audio_files import Waveform, encode, encode_av
from tests.support.variants import usual

SPEC = WindowSpec(16_000, 2.0)
Recipe = Callable[[], bytes]


def listen(data: bytes, *, max_windows: int = 3) -> Recording:
    return read_recording(io.BytesIO(data), SPEC, max_windows=max_windows)


def resembles(windows: Waveform, expected: Waveform) -> float:
    """Correlation of windows with those of another recording."""
    return float(np.corrcoef(windows.ravel(), expected.ravel())[0, 1])


# The right answer: the same windows as of a WAV with the same sound.
AS_THE_SOUND_FILE: dict[str, Recipe] = {
    "flac of unknown length": lambda: of_length("flac", 0),
    "flac that names too much": lambda: of_length("flac", RATE * 3600),
    "flac that names too little": lambda: of_length("flac", RATE),
    "wav never finished, header counted": lambda: recipes.unfinished_wav(36),
    "wav never finished, nothing counted": lambda: recipes.unfinished_wav(0),
    "wav into a pipe": lambda: of_length("wav", 0xFFFF_FFFF),
    "wav that names too much": lambda: of_length("wav", 0x7000_0000),
    "wav saved early": recipes.stale_wav,
    "wav with tags behind": lambda: recipes.with_chunk(b"LIST", 1_000_000),
    "wav with an unknown chunk behind": lambda: recipes.with_chunk(b"xyz1", 500_000),
    "wav with zeros behind": lambda: encode(music(), "wav", RATE) + bytes(40_000),
    "aiff never finished": lambda: of_length("aiff", 0),
    "aiff saved early": lambda: of_length("aiff", RATE * 2),
    "au into a pipe": lambda: of_length("au", 0xFFFF_FFFF),
    "au never finished": lambda: of_length("au", 0),
    **{
        f"{format} behind a picture": lambda format=format: tagged(format)  # type: ignore[misc]
        for format in ("aac", "mp3", "wav", "flac", "ogg", "opus", "m4a", "webm", "wma", "aiff", "au")
    },
    "two tags": lambda: recipes.id3(300)[:310] + tagged("aac"),
    "mp3 behind an APE tag": lambda: recipes.ape_tagged("mp3"),
    "aac behind an APE tag": lambda: recipes.ape_tagged("aac"),
    "mp3 without its length": recipes.without_length_frame,
    "browser's webm": lambda: encode_av(music(rate=48_000), "webm", "libopus", live="1"),
    "fragmented mp4": lambda: encode_av(music(), "mp4", "aac", RATE, movflags="frag_keyframe+empty_moov"),
    "first track silent": lambda: tracks(silence(), music()),
    "last track silent": lambda: tracks(music(), silence()),
    "first track beyond decoding": lambda: unknown_codec(tracks(music()[::-1].copy(), music()), b"ac-4"),
    "default track is the second": lambda: recipes.default_track(
        tracks(music()[::-1].copy(), music(), container="matroska"), 1
    ),
    "silent default track": lambda: recipes.default_track(tracks(music(), silence(), container="matroska"), 1),
    "antiphase wav": lambda: encode(stereo(music(), -music()), "wav", RATE),
    "antiphase flac": lambda: encode(stereo(music(), -music()), "flac", RATE),
    "antiphase m4a": lambda: encode(stereo(music(), -music()), "m4a", RATE),
    "one channel inverted and quieter": lambda: encode(stereo(music(), -0.7 * music()), "wav", RATE),
    "one channel only": lambda: encode(stereo(music(), 0 * music()), "wav", RATE),
    "antiphase half of the time": lambda: encode(
        stereo(music(), music() * np.sign(np.sin(np.arange(len(music())) * 2 * np.pi / RATE))), "wav", RATE
    ),
}


@cache
def heard_as_wav() -> Recording:
    return listen(encode(music(), "wav", RATE))


@pytest.mark.parametrize("name", AS_THE_SOUND_FILE)
def test_recording_is_heard_as_its_sound_file(name: str) -> None:
    expected = heard_as_wav()
    heard = listen(AS_THE_SOUND_FILE[name]())
    assert heard.duration_s == pytest.approx(SECONDS, abs=0.1)
    assert heard.analysed_s == pytest.approx(expected.analysed_s, abs=0.1)
    assert heard.windows.shape == expected.windows.shape
    # Encoders put up to 50 ms before the music: the first window is compared after shifting by the best lag.
    assert best_lag(heard.windows[0], expected.windows[0]) > 0.95


def best_lag(window: Waveform, expected: Waveform) -> float:
    """The best correlation within 60 ms."""
    size = 2 * len(window)
    products = np.fft.irfft(np.fft.rfft(window, size) * np.conj(np.fft.rfft(expected, size)), size)
    most = round(0.06 * SPEC.sampling_rate)
    best = max(products[:most].max(), products[-most:].max())
    return float(best / np.sqrt((window @ window) * (expected @ expected)))


def _other_rate(format: str) -> bytes:
    return encode(stereo(music(30, 48_000), music(30, 48_000)), format, 48_000)


# The right answer: so many seconds, and the last window as in the last part.
JOINED: dict[str, tuple[Recipe, float]] = {
    "mp3, mono then stereo": (lambda: joined(encode(music(5), "mp3", RATE), _other_rate("mp3")), 35.0),
    "mp3 without lengths": (lambda: joined(recipes.without_length_frame(), _other_rate("mp3")), 39.0),
    "mp3 with pictures between": (lambda: joined(tagged("mp3"), tagged("mp3"), _other_rate("mp3")), 48.0),
    "aac of two rates": (lambda: joined(encode(music(5), "aac", RATE), _other_rate("aac")), 35.0),
    "chained ogg": (lambda: joined(encode(music(5), "ogg", RATE), _other_rate("ogg")), 35.0),
    "chained opus": (lambda: joined(encode(music(5, 48_000), "opus", 48_000), _other_rate("opus")), 35.0),
    "flac": (lambda: joined(encode(music(5), "flac", RATE), _other_rate("flac")), 35.0),
    "wav": (lambda: joined(encode(music(5), "wav", RATE), _other_rate("wav")), 35.0),
    "aiff": (lambda: joined(encode(music(5), "aiff", RATE), _other_rate("aiff")), 35.0),
    "webm": (lambda: joined(encode(music(5, 48_000), "webm", 48_000), _other_rate("webm")), 35.0),
    "m4a": (lambda: joined(encode(music(5), "m4a", RATE), _other_rate("m4a")), 35.0),
    "wma": (lambda: joined(encode(music(5), "wma", RATE), _other_rate("wma")), 35.0),
    "a hundred parts": (lambda: joined(*[encode(music(0.5), "flac", RATE)] * 100, _other_rate("flac")), 80.0),
}


@pytest.mark.parametrize("name", usual("mp3, mono then stereo", "chained ogg", "flac", "wav", of=JOINED))
def test_joined_recordings_are_heard_as_one(name: str) -> None:
    recipe, seconds = JOINED[name]
    heard = listen(recipe())
    assert heard.duration_s == pytest.approx(seconds, abs=0.25)
    assert len(heard.windows) == 3
    assert "damaged" not in [warning.code for warning in heard.warnings]
    expected = soxr.resample(music(30, 48_000), 48_000, SPEC.sampling_rate)[-SPEC.samples :]
    assert best_lag(heard.windows[-1], expected) > 0.95


@pytest.mark.thorough
@pytest.mark.parametrize("format", ["wav", "flac"])
def test_more_parts_than_are_opened_are_told(format: str) -> None:
    heard = listen(encode(music(0.02), format, RATE) * 1_200)
    assert [warning.code for warning in heard.warnings] == ["damaged"]


def test_flood_of_tags_ends_soon() -> None:
    tags = b"ID3\4\0\0\0\0\0\0" * 3_000_000
    with pytest.raises(AudioError):
        listen(tags)


_PICTURE = bytes.fromhex("000000186674797068656963000000006d696631686569630000010e6d657461") + bytes(500)

REFUSED: dict[str, tuple[Recipe, type[AudioError], str]] = {
    "webp": (lambda: recipes.chunk_list(b"RIFF", b"WEBP"), UnsupportedMedia, "known format"),
    "avi": (lambda: recipes.chunk_list(b"RIFF", b"AVI "), UnsupportedMedia, "known format"),
    "cda": (lambda: recipes.chunk_list(b"RIFF", b"CDDA")[:44], UnsupportedMedia, "known format"),
    "midi in riff": (lambda: recipes.chunk_list(b"RIFF", b"RMID"), UnsupportedMedia, "known format"),
    "iff picture": (lambda: recipes.chunk_list(b"FORM", b"ILBM"), UnsupportedMedia, "known format"),
    "heic picture": (lambda: _PICTURE, UnsupportedMedia, "known format"),
    "only track beyond decoding": (lambda: unknown_codec(tracks(music()), b"ac-4"), UnsupportedMedia, "ac-4"),
    "all tracks beyond decoding": (
        lambda: unknown_codec(unknown_codec(tracks(music(), music()), b"mha1"), b"mha1", 1),
        UnsupportedMedia,
        "mha1",
    ),
    "encrypted": (lambda: unknown_codec(tracks(music()), b"drms"), UnsupportedMedia, "encrypted"),
    "all tracks silent": (lambda: tracks(silence(), silence()), SilentAudio, "silent"),
    "wav of a header": (lambda: encode(music(), "wav", RATE)[:30], UndecodableAudio, "damaged"),
    "a tag alone": (lambda: recipes.id3(2_000), AudioError, "audio"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unfit_file_is_refused_in_words(name: str) -> None:
    recipe, problem, words = REFUSED[name]
    with pytest.raises(problem, match=words):
        listen(recipe())
