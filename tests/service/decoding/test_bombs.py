"""Files made to do harm, against the decoder processes: each gets its answer, soon, and no decoder is lost."""

import asyncio
import io
import os
import socket
import struct
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from service.audio import WindowSpec, open_audio, read_recording
from service.decoding.pool import DecoderPool
from service.errors import AudioError, AudioTooShort, ServiceError, UndecodableAudio, UnsupportedMedia
from service.metrics import Metrics
from tests.support.audio_files import FORMATS, encode, sweep

RATE = 16_000
WINDOW_S = 30.0
_NOISE = np.random.default_rng(0).bytes(60_000)


def hear(*files: bytes, cpu_s: int = 15) -> tuple[list[float | type[ServiceError]], int]:
    """The seconds analysed of each file, or the kind of problem that it is; and how many decoders were lost."""

    async def hear_all() -> tuple[list[float | type[ServiceError]], int]:
        metrics = Metrics()
        decoders = DecoderPool(1, metrics, wall_s=30, cpu_s=cpu_s)
        outcomes: list[float | type[ServiceError]] = []
        for file in files:
            try:
                outcomes.append(await _hear_one(decoders, file))
            except ServiceError as problem:
                outcomes.append(type(problem))
        decoders.close()
        (counter,) = metrics.decoder_restarts.collect()
        return outcomes, int(sum(sample.value for sample in counter.samples if sample.name.endswith("_total")))

    return asyncio.run(hear_all())


async def _hear_one(decoders: DecoderPool, file: bytes) -> float:
    async with decoders.open(io.BytesIO(file), WindowSpec(RATE, WINDOW_S)) as recording:
        duration_s = recording.progress.duration_s
        for start_s in (0.0, duration_s / 2, max(0.0, duration_s - WINDOW_S)):
            window = await recording.read(start_s)
            assert window is None or window.waveform.shape == (RATE * WINDOW_S,)
        recording.progress.require_sound()
        return recording.progress.analysed_s


# Length


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


# Headers


def _wav(*, rate: int = 8_000, channels: int = 1, bits: int = 16, size: int = len(_NOISE), tag: int = 1) -> bytes:
    block = channels * bits // 8
    fields = struct.pack("<IHHIIHH", 16, tag, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + fields + b"data" + struct.pack("<I", size) + _NOISE


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


# Packets

# An AAC packet of nothing but its header of seven bytes.
_EMPTY_ADTS = bytes.fromhex("fff1508000fffc")


def test_half_a_million_empty_packets_are_not_decoded_one_by_one() -> None:
    """3.5 MB of them took a core 26 s and 320 MB of memory."""
    music = encode(sweep(2.0), "aac")
    outcomes, lost = hear(_EMPTY_ADTS * 500_000, music + _EMPTY_ADTS * 500_000)
    assert outcomes[0] is UndecodableAudio
    assert outcomes[1] == pytest.approx(2.0, abs=0.1)
    assert lost == 0


def test_more_work_than_a_file_may_cost_ends_its_decoder() -> None:
    """The same, for a decoder that may take only a second of a core."""
    music = encode(sweep(2.0), "aac")
    outcomes, lost = hear(music + _EMPTY_ADTS * 1_000_000, encode(sweep(2.0), "mp3"), cpu_s=0)
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


# Other files, other hosts


@contextmanager
def _listener() -> Iterator[tuple[int, list[object]]]:
    """A port of this machine, and who called it."""
    calls: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                calls.append(address)
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1], calls
        finally:
            # Closing it alone would not wake the thread.
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _with_reference(m4a: bytes, entry: bytes) -> bytes:
    """The file with its track's samples in another file, as QuickTime may have them: the `dref` names it."""
    start = m4a.index(b"dref") - 4
    (size,) = struct.unpack_from(">I", m4a, start)
    dref = _box(b"dref", bytes(4), struct.pack(">I", 1), entry)
    changed = bytearray(m4a[:start] + dref + m4a[start + size :])
    for kind in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = m4a.rindex(kind, 0, start) - 4
        (old,) = struct.unpack_from(">I", changed, at)
        struct.pack_into(">I", changed, at, old + len(dref) - size)
    return bytes(changed)


def _references(url: str) -> dict[str, bytes]:
    m4a = encode(sweep(1.0), "m4a")
    path = url.encode()
    alias = bytes(150 - 20) + struct.pack(">HH", 18, len(path)) + path + struct.pack(">h", -1)
    scripts = {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n",
        "m3u8 with a key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF:9,\nx.ts\n',
        "m3u": f"#EXTM3U\n{url}\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{url}'\n",
        "concat": f"concat:{url}|{url}\n",
        "pls": f"[playlist]\nFile1={url}\nNumberOfEntries=1\nVersion=2\n",
        "asx": f"<ASX VERSION='3.0'><ENTRY><REF HREF='{url}'/></ENTRY></ASX>",
        "dash": "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'><Period><AdaptationSet "
        "mimeType='audio/mp4'><Representation id='1'>"
        f"<BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:{url}\nm=audio 9 RTP/AVP 0\n",
        "a URL": url,
        "imf": f"<?xml version='1.0'?><CompositionPlaylist xmlns='http://www.smpte-ra.org/schemas/2067-3/2016'>{url}",
        "reference redirect": f"[Reference]\nRef1={url}\n",
    }
    return {name: script.encode() for name, script in scripts.items()} | {
        "mov with a url": _with_reference(m4a, _box(b"url ", bytes(4), path, b"\0")),
        "mov with an alias": _with_reference(m4a, _box(b"alis", bytes(4), alias)),
        "playlist in a wav": _wav(tag=0x55) + scripts["m3u8"].encode(),
        "zip": _zip(scripts["m3u8"]),
    }


def _zip(script: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("playlist.m3u8", script)
    return file.getvalue()


def test_no_other_file_and_no_host_is_reached(tmp_path: Path) -> None:
    """By the front end itself, also where no process forbids it to open anything."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encode(sweep(3.0), "wav"))
    # Reading a file sets its access time when that is older than its last change.
    os.utime(secret, (secret.stat().st_mtime - 60,) * 2)
    before = secret.stat().st_atime_ns
    with _listener() as (port, calls):
        urls = [str(secret), f"file://{secret}", f"http://127.0.0.1:{port}/x.wav", f"tcp://127.0.0.1:{port}"]
        for url in urls:
            for name, data in _references(url).items():
                try:
                    recording = read_recording(io.BytesIO(data), WindowSpec(RATE, 1.0), max_windows=1)
                except AudioError as problem:
                    # Several files in a loop: some are refused, some are not.
                    assert url not in problem.detail, name  # noqa: PT017
                else:
                    # The references of a mov are ignored: its own bytes are its samples.
                    assert name.startswith("mov with"), name
                    assert recording.duration_s < 1.1
        outcomes, lost = hear(*_references(urls[2]).values())
        assert lost == 0
        assert calls == []
        with socket.create_connection(("127.0.0.1", port)) as call:
            # Until it has been noted, and hung up on.
            assert call.recv(1) == b""
    assert len(calls) == 1, "the listener listens"
    assert secret.stat().st_atime_ns == before
    secret.read_bytes()
    assert secret.stat().st_atime_ns != before, "reading shows"


@pytest.mark.parametrize("format", ["W64", "VOC", "PAF", "NIST", "MAT5", "SDS", "AVR", "XI", "PVF", "IRCAM"])
def test_libsndfile_reads_only_what_is_promised(format: str) -> None:
    """It knows many more formats, whose readers nobody needs, and nobody tests as much."""
    file = io.BytesIO()
    subtype = soundfile.default_subtype(format)
    soundfile.write(file, np.clip(sweep(1.0, 8_000), -1, 1), 8_000, format=format, subtype=subtype)
    with pytest.raises(UnsupportedMedia):
        open_audio(io.BytesIO(file.getvalue()))


# Damage


def test_cut_and_flipped_files_of_every_format_get_an_answer() -> None:
    random = np.random.default_rng(0)
    files = []
    for format in FORMATS:
        data = encode(sweep(2.0), format)
        files += [data[: len(data) * part // 8] for part in range(8)]
        for _ in range(4):
            flipped = bytearray(data)
            for at in random.integers(0, len(data), 50):
                flipped[at] ^= 1 << int(random.integers(8))
            files.append(bytes(flipped))
    outcomes, lost = hear(*files)
    assert lost == 0
    problems = {outcome for outcome in outcomes if isinstance(outcome, type)}
    assert problems <= {UndecodableAudio, UnsupportedMedia, AudioTooShort}
    assert sum(isinstance(outcome, float) for outcome in outcomes) > len(files) / 3


@pytest.mark.parametrize("at", [48, 412])
def test_a_container_that_points_before_its_start_is_damaged(at: int, tmp_path: Path) -> None:
    """Found by `make fuzz`: the seek failed in Python, as no error of the audio."""
    data = bytearray(encode(sweep(0.9, RATE), "wma", RATE))
    data[at : at + 4] = b"\xff\xff\xff\xff"
    path = tmp_path / "upload"
    path.write_bytes(data)
    with path.open("rb") as on_disk:
        for file in (on_disk, io.BytesIO(data)):
            with pytest.raises(UndecodableAudio):
                read_recording(file, WindowSpec(RATE, 1.0), max_windows=3)
    assert hear(bytes(data)) == ([UndecodableAudio], 0)


@pytest.mark.parametrize(("format", "text"), [("m4a", b"M4A "), ("webm", b"ENCODER"), ("mka", b"ENCODER")])
def test_tags_in_another_encoding_do_no_harm(format: str, text: bytes) -> None:
    """Found by `make fuzz`: text that is no UTF-8, as old programs wrote it, made a file undecodable."""
    data = encode(sweep(2.0), format)
    assert text in data
    outcomes, _ = hear(data.replace(text, bytes([0xE9]) * len(text)))
    assert outcomes == pytest.approx([2.0], abs=0.1)
