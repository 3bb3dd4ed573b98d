"""Files that promise or pack far more than they are, against the decoder processes."""

import asyncio
import io
import struct

import numpy as np
import pytest
import soundfile

from service.errors import AudioTooShort, UndecodableAudio, UnsupportedMedia
from tests.service.decoding.hostile_files import _NOISE, _wav, hear
from tests.service.decoding.pools import read, restarts, started
from tests.support.audio_files import encode, sweep

pytestmark = pytest.mark.thorough


def _long_flac(hours: float, sampling_rate: int, channels: int) -> bytes:
    minute = np.tile(np.array([[0.1], [0.1], [-0.1], [-0.1]], np.float32), (sampling_rate * 15, channels))
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", sampling_rate, channels, "PCM_16", format="FLAC") as output:
        for _ in range(round(hours * 60)):
            output.write(minute)
    return file.getvalue()


def test_files_that_decode_to_hours_cost_their_windows_only() -> None:
    files = [
        _long_flac(10, 1_000, channels=1),
        _long_flac(2, 2_000, channels=8),
        encode(sweep(30.0, 8_000), "aac", 8_000) * 120,
    ]
    outcomes, lost = hear(*files, cpu_s=4)
    assert outcomes == pytest.approx([90.0] * 3, abs=0.2)
    assert lost == 0


def _au(*, rate: int = 8_000, channels: int = 1, size: int = len(_NOISE), encoding: int = 3) -> bytes:
    return b".snd" + struct.pack(">IIIII", 24, size, encoding, rate, channels) + _NOISE


def _flac(*, rate: int = 8_000, channels: int = 1, samples: int = 0) -> bytes:
    data = bytearray(encode(sweep(1.0, 8_000), "flac", 8_000))
    data[18:26] = struct.pack(">Q", rate << 44 | channels - 1 << 41 | 15 << 36 | samples)
    return bytes(data)


def test_headers_beyond_all_sense_are_refused_or_not_believed() -> None:
    absurd_rates = [_wav(rate=rate) for rate in (0, 1, 999, 10_000_000, 1 << 31, 0xFFFFFFFF)]
    absurd_rates += [_au(rate=rate) for rate in (1, 10_000_000, 0xFFFFFFFF)]
    many_channels = [_wav(channels=channels) for channels in (0, 65, 1_000, 1_024, 65_535)]
    many_channels += [_au(channels=channels) for channels in (65, 1_000, 0xFFFFFFFF)]
    outcomes, lost = hear(*absurd_rates, *many_channels)
    assert set(outcomes) == {UndecodableAudio}
    assert lost == 0
    outcomes, lost = hear(_wav(bits=0), _wav(bits=65_535))
    assert (outcomes, lost) == ([UnsupportedMedia] * 2, 0)
    # What they promise is not there: what is there is heard.
    promises = [_wav(size=1 << 31), _wav(size=0xFFFFFFFF), _au(size=0xFFFFFFFF), _wav(channels=64, size=0xFFFFFFF0)]
    outcomes, lost = hear(*promises, _flac(samples=1 << 31), _flac(samples=(1 << 36) - 1), _au(size=1 << 31))
    seconds = len(_NOISE) / 16_000
    assert outcomes[:3] == pytest.approx([seconds] * 3, abs=0.01)
    assert outcomes[3] is AudioTooShort
    assert outcomes[4:] == pytest.approx([1.0, 1.0, seconds], abs=0.01)
    assert lost == 0
    # The frames of a FLAC file name their rate again.
    outcomes, lost = hear(_flac(rate=1))
    assert outcomes == pytest.approx([0.5], abs=0.1)
    assert lost == 0


# An AAC packet of nothing but its header of seven bytes.
_EMPTY_ADTS = bytes.fromhex("fff1508000fffc")


@pytest.mark.slow
def test_half_a_million_empty_packets_are_not_decoded_one_by_one() -> None:
    """3.5 MB of them took a core 26 s and 320 MB of memory."""
    music = encode(sweep(2.0), "aac")
    outcomes, lost = hear(_EMPTY_ADTS * 500_000, music + _EMPTY_ADTS * 500_000)
    assert outcomes[0] is UndecodableAudio
    assert outcomes[1] == pytest.approx(2.0, abs=0.1)
    assert lost == 0


def test_more_work_than_a_file_may_cost_ends_its_decoder() -> None:
    """The same, for a decoder that may take only a second or two of a core."""
    music = encode(sweep(2.0), "aac")
    outcomes, lost = hear(music + _EMPTY_ADTS * 1_000_000, encode(sweep(2.0), "mp3"), cpu_s=1)
    assert outcomes[0] is UndecodableAudio
    assert outcomes[1] == pytest.approx(2.0, abs=0.1)
    assert lost == 1


def _ogg_page(serial: int, number: int, lacing: bytes, body: bytes) -> bytes:
    page = bytearray(struct.pack("<4sBBqIIIB", b"OggS", 0, 0, 0, serial, number, 0, len(lacing)) + lacing + body)
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x04C11DB7 if checksum & 1 << 31 else 0)) & 0xFFFFFFFF
    page[22:26] = struct.pack("<I", checksum)
    return bytes(page)


@pytest.mark.parametrize("format", ["ogg", "opus"])
def test_ogg_packets_of_no_length_are_no_recording(format: str) -> None:
    music = encode(sweep(2.0), format)
    (serial,) = struct.unpack_from("<I", music, 14)
    pages = b"".join(_ogg_page(serial, 1_000 + number, bytes(255), b"") for number in range(40))
    outcomes, lost = hear(music + pages, music[: music.index(b"OggS", 4)] + pages)
    assert outcomes[0] in (AudioTooShort, UndecodableAudio) or outcomes[0] == pytest.approx(2.0, abs=0.1)
    assert outcomes[1] in (AudioTooShort, UndecodableAudio)
    assert lost == 0


def test_the_largest_recordings_of_studios_fit_into_a_decoder() -> None:
    """Eight channels at 192 kHz: 30 s are 184 MB of samples, of a decoder's 768 MB of address space."""
    tones = np.stack([sweep(31.0, 192_000) * np.float32(1 - channel / 10) for channel in range(8)], axis=1)
    data = encode(tones, "flac", 192_000)

    async def largest() -> int:
        async with started() as (decoders, metrics):
            found = await read(decoders, data, window_s=30.0)
            assert restarts(metrics) == {}
            return len(found)

    assert asyncio.run(largest()) >= 1
