"""Files that name other files or hosts, and formats that nobody promised: nothing of them is opened."""

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
from service.errors import AudioError, UnsupportedMedia
from tests.service.decoding.hostile_files import RATE, _wav, hear
from tests.support.audio_files import encode, sweep


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


def test_file_with_references_opens_no_other_file_and_no_connection(tmp_path: Path) -> None:
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
    if os.statvfs(secret).f_flag & os.ST_NOATIME:
        pytest.skip("this file system notes no access times, by which the test sees that a file was opened")
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
