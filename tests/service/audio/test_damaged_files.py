"""Damaged, lying and foreign files: what is read of them, and what is refused."""

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from service.audio import open_audio
from service.errors import AudioTooShort, UndecodableAudio, UnsupportedMedia
from tests.service.audio.recordings import SWEEP_S, WINDOW_S, correlation, record
from tests.support.audio_files import encode, encode_av, sweep


@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "opus", "mp3", "au", "aiff", "aac", "webm", "wma", "mka"])
def test_a_file_cut_off_in_the_middle_is_classified_by_what_is_there(format: str) -> None:
    data = encode(sweep(SWEEP_S), format)
    recording = record(data[: len(data) // 2])
    # Headers know the length that was planned; what is reported must be what was found.
    assert 0.4 * SWEEP_S < recording.duration_s < 0.65 * SWEEP_S
    assert WINDOW_S * 0.9 < recording.analysed_s <= recording.duration_s


@pytest.mark.parametrize("format", ["m4a", "mp4"])
def test_a_file_cut_off_before_its_index_is_called_damaged_rather_than_unknown(format: str) -> None:
    data = encode(sweep(SWEEP_S), format)
    with pytest.raises(UndecodableAudio, match="damaged"):
        record(data[: len(data) // 2])


@pytest.mark.parametrize("format", ["flac", "ogg", "opus", "m4a", "webm", "wma", "mka"])
def test_a_file_of_a_header_only_is_called_damaged(format: str) -> None:
    with pytest.raises(UndecodableAudio):
        record(encode(sweep(3.0), format)[:100])


def test_a_wav_header_that_lies_about_its_length_is_not_believed() -> None:
    data = bytearray(encode(sweep(5.0), "wav"))
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", 0x7FFF_FFF0)
    recording = record(bytes(data))
    assert recording.duration_s == pytest.approx(5.0)
    assert len(recording.windows) == 3


def test_a_flac_header_that_lies_about_its_length_is_not_believed() -> None:
    data = bytearray(encode(sweep(5.0), "flac"))
    # The low 36 bits of these eight bytes of STREAMINFO are the number of samples.
    (streaminfo,) = struct.unpack(">Q", data[18:26])
    data[18:26] = struct.pack(">Q", streaminfo & ~((1 << 36) - 1) | 48_000 * 3600)
    recording = record(bytes(data))
    assert recording.duration_s < 10
    assert correlation(recording.windows[0], sweep(5.0), 0.0)[0] > 0.99


def test_bytes_that_are_no_audio_are_unsupported() -> None:
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0" + bytes(1000)
    for data in (b"hello world " * 100, png, bytes(10_000), np.random.default_rng(0).bytes(100_000)):
        with pytest.raises(UnsupportedMedia, match="mp3, m4a"):
            record(data)


def test_a_video_without_sound_is_unsupported() -> None:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        output.mux(stream.encode(None))
    with pytest.raises(UnsupportedMedia, match="no audio track"):
        record(file.getvalue())


def test_an_empty_file_is_undecodable() -> None:
    with pytest.raises(UndecodableAudio, match="empty"):
        record(b"")


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{path}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n{path}\n",
        "ffconcat version 1.0\nfile '{path}'\n",
        "[playlist]\nFile1={path}\nNumberOfEntries=1\nVersion=2\n",
        "<ASX VERSION='3.0'><ENTRY><REF HREF='{path}'/></ENTRY></ASX>",
    ],
)
def test_a_playlist_is_refused_and_opens_nothing(playlist: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encode(sweep(3.0), "wav"))
    # Reading a file sets its access time when that is older than the last change.
    os.utime(secret, (secret.stat().st_mtime - 60,) * 2)
    before = secret.stat().st_atime_ns
    with pytest.raises(UnsupportedMedia):
        record(playlist.format(path=secret).encode())
    assert secret.stat().st_atime_ns == before


def test_a_header_that_ends_too_soon_is_damage() -> None:
    """As of a recorder that lost its power at once; the decoder that reads one goes on."""
    aiff = encode(sweep(1.0), "aiff")
    behind_ssnd = aiff.index(b"SSND") + 8
    sizes = struct.pack("<I", 0xFFFF_FFFF)
    rf64 = b"RF64" + sizes + b"WAVE" + b"ds64" + bytes(4) + b"data" + sizes
    for data in (rf64, *(aiff[: behind_ssnd + more] for more in range(9)), aiff[: aiff.index(b"COMM") + 12]):
        with pytest.raises((UndecodableAudio, AudioTooShort)):
            record(data)


@pytest.mark.parametrize(
    ("container", "codec"),
    [("ipod", "aac"), ("adts", "aac"), ("ipod", "alac"), ("ac3", "ac3"), ("eac3", "eac3"), ("flv", "aac")],
)
def test_damaged_packets_are_left_out_whatever_their_decoder_says_of_them(container: str, codec: str) -> None:
    data = bytearray(encode_av(sweep(SWEEP_S), container, codec))
    # Each decoder reports damage in its own way, at some places only.
    for at in range(len(data) // 10, len(data) * 8 // 10, len(data) // 40):
        data[at : at + 8] = b"\xff\x00\xa5\x5a" * 2
    recording = record(bytes(data))
    assert recording.duration_s == pytest.approx(SWEEP_S, abs=1.0)
    assert "damaged" in [warning.code for warning in recording.warnings]


@pytest.mark.parametrize("format", ["ogg", "opus", "webm"])
def test_behind_a_hole_of_any_size_the_recording_goes_on(format: str) -> None:
    data = encode(sweep(60.0), format)
    hole_at, hole = len(data) // 5, min(140_000, len(data) // 2)
    recording = record(data[:hole_at] + bytes(hole) + data[hole_at + hole :])
    assert recording.duration_s == pytest.approx(60.0, abs=1.0)
    assert [warning.code for warning in recording.warnings] == ["damaged"]
    # The last of three windows that are spread evenly ends with the recording.
    assert correlation(recording.windows[-1], sweep(60.0), recording.duration_s - WINDOW_S)[0] > 0.9


def test_behind_a_hole_the_right_seconds_are_heard() -> None:
    data = encode(sweep(60.0), "opus")
    data = data[: len(data) // 5] + bytes(len(data) * 3 // 10) + data[len(data) // 2 :]
    with open_audio(io.BytesIO(data)) as audio:
        for at in range(31, 59, 3):
            waveform = audio.read(at, 1.0, 16_000).waveform
            assert len(waveform) == 16_000
            # The sweep rises by 20 Hz a second, from 200 Hz.
            heard_s = (float(np.abs(np.fft.rfft(waveform)).argmax()) - 200) / 20
            assert heard_s == pytest.approx(at + 0.5, abs=0.6)
