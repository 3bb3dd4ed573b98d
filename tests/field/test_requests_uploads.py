"""Recordings as clients send them: each row is a request, and the answer that is right for it."""

import re
import time

import httpx2
import pytest

from tests.support.audio_files import encode, sweep
from tests.support.raw_http import ask, connected, read
from tests.support.service_process import Service

MP3 = encode(sweep(1.0), "mp3")
WEBM = encode(sweep(1.0), "webm")
OGG = encode(sweep(1.0), "ogg")
WAV_5_KB = encode(sweep(0.6, 4_000), "wav", 4_000)
WAV_5_MB = encode(sweep(52.0), "wav")
AUDIO, OCTETS = "Content-Type: audio/mpeg", "Content-Type: application/octet-stream"
NAMED = 'Content-Disposition: form-data; name="file"; filename="song.mp3"'
NAMELESS = 'Content-Disposition: form-data; name="file"'
TITLE = b'--B\r\nContent-Disposition: form-data; name="title"\r\n\r\nBlue\r\n'
FORM = "multipart/form-data; boundary=B"


def form(*headers: str, data: bytes = MP3, boundary: str = "B", encoding: str = "latin-1") -> bytes:
    """A form of one part with these headers."""
    head = "\r\n".join([f"--{boundary}", *headers]).encode(encoding)
    return head + b"\r\n\r\n" + data + f"\r\n--{boundary}--\r\n".encode()


def of(boundary: str, *headers: str) -> tuple[str, bytes]:
    """The content type and the form of a client that has such boundaries."""
    return f"multipart/form-data; boundary={boundary}", form(*headers, boundary=boundary.strip('"'))


TAKEN: dict[str, tuple[str, bytes]] = {
    "curl": of("------------------------d74496d66958873e", NAMED, AUDIO),
    "Chrome": of("----WebKitFormBoundary7MA4YWxkTrZu0gW", NAMED, AUDIO),
    "Firefox": of("----geckoformboundary5fd5b2d9b7e0e5f3c3c1", NAMED, AUDIO),
    "requests": of("94d2b6e1c0f84d1e8a3f0c5c3b1a2d4e", NAMED),
    "Go": of("f3ab0ad7d6c2a1b4c3f0e6a0b71ab3a7", NAMED, OCTETS),
    "Dart": of("dart-http-boundary-Kq+._9xF-2", OCTETS.lower(), NAMED.replace("Content-D", "content-d")),
    "OkHttp": of("9f0e6c9e-3c52-4a39-8b8e-5c1f4ad4cc0e", NAMED, AUDIO, f"Content-Length: {len(MP3)}"),
    "Apache HttpClient": of("Kx_9-yTQ0", NAMED, OCTETS, "Content-Transfer-Encoding: binary"),
    ".NET": of(
        '"e3b0a2f6-6a0c-4d8f"', AUDIO, "Content-Disposition: form-data; name=file; filename=a.mp3; filename*=utf-8''a"
    ),
    ".NET without a name": of('"e3b0a2f6-6a0c-4d8f"', OCTETS, "Content-Disposition: form-data; name=file"),
    "React Native": of("aBc_0", "content-disposition: form-data; name=\"file\"; filename*=utf-8''m%C3%BC.m4a", AUDIO),
    "encoded name alone": (FORM, form(f"{NAMELESS}; filename*=utf-8''na%C3%AFve.mp3")),
    "encoded name in capitals": (FORM, form(f"{NAMELESS}; FileName*=UTF-8'en'%e2%82%ac.mp3", AUDIO)),
    "encoded name in Latin-1": (FORM, form(f"{NAMELESS}; filename*=iso-8859-1''m%FCsic.mp3")),
    "no name, audio of 5 kB": (FORM, form(NAMELESS, AUDIO, data=WAV_5_KB)),
    "no name, audio of 5 MB": (FORM, form(NAMELESS, AUDIO, data=WAV_5_MB)),
    "no name, octets of 5 MB": (FORM, form(NAMELESS, OCTETS, data=WAV_5_MB)),
    "no name, no type": (FORM, form(NAMELESS)),
    "no name, called text": (FORM, form(NAMELESS, "Content-Type: text/plain; charset=utf-8", data=WAV_5_KB)),
    "empty name": (FORM, form(f'{NAMELESS}; filename=""', AUDIO)),
    "name before field": (FORM, form('Content-Disposition: form-data; filename="a;b.mp3"; name="file"')),
    "name in Latin-1": (FORM, form(f'{NAMELESS}; filename="Müsik.mp3"')),
    "name in Shift JIS": (FORM, form(f'{NAMELESS}; filename="表ソ.mp3"', encoding="shift-jis")),
    "name with quotes": (FORM, form(rf'{NAMELESS}; filename="a \"b\" c.mp3"')),
    "capitals": ("Multipart/Form-Data;Boundary=B", form(NAMED)),
    "charset": ("multipart/form-data; charset=UTF-8; boundary=B", form(NAMED)),
    "line break before": (FORM, b"\r\n" + form(NAMED)),
    "blanks after the boundary": (FORM, TITLE + form(NAMED).replace(b"--B\r\n", b"--B \t\r\n", 1)),
    "nothing after the end": (FORM, form(NAMED)[:-2]),
    "a field before": (FORM, TITLE + form(NAMELESS, AUDIO)),
    "another file before": (FORM, form(NAMED.replace('"file"', '"cover"'))[:-5] + b"\r\n" + form(NAMED)),
    "body": ("audio/mpeg", MP3),
    "body of 5 MB": ("audio/wav", WAV_5_MB),
    "body in capitals": ("AUDIO/MPEG", MP3),
    "body of MediaRecorder": ("audio/webm;codecs=opus", WEBM),
    "body called a video": ("video/webm", WEBM),
    "body called an ogg video": ("video/ogg", OGG),
    "body of type application/ogg": ("application/ogg", OGG),
    "body of octets": ("application/octet-stream", MP3),
    "body as object stores call it": ("binary/octet-stream", MP3),
}
REFUSED: dict[str, tuple[str | None, bytes, tuple[int, str], str]] = {
    "curl without @": (FORM, form(NAMELESS, data=b"song.mp3"), (422, "invalid-parameter"), "with a file name"),
    "curl without @, long": (FORM, form(NAMELESS, data="ü".encode() * 999), (422, "invalid-parameter"), "file name"),
    "no bytes": (FORM, form(NAMELESS, data=b""), (422, "invalid-parameter"), "with a file name"),
    "base64": (FORM, form(NAMED, "Content-Transfer-Encoding: base64"), (422, "invalid-parameter"), "as they are"),
    "other field": (FORM, form(NAMED.replace('"file"', '"x"')), (422, "invalid-parameter"), "one field `file`"),
    "two": (FORM, form(NAMED)[:-5] + b"\r\n" + form(NAMELESS, AUDIO), (422, "invalid-parameter"), "one recording"),
    "no type": (None, MP3, (422, "invalid-parameter"), "no Content-Type. Send .* `file`.* audio/mpeg"),
    "curl --data-binary": ("application/x-www-form-urlencoded", MP3, (422, "invalid-parameter"), "x-www-form-urlenc"),
    "JSON": ("application/json", b"{}", (422, "invalid-parameter"), "declared as application/json. Send"),
    "text": ("text/plain", b"song", (422, "invalid-parameter"), "declared as text/plain. Send"),
    "mixed": ("multipart/mixed; boundary=B", form(NAMED), (422, "invalid-parameter"), "declared as multipart/mixed"),
    "no boundary": ("multipart/form-data", form(NAMED), (422, "invalid-parameter"), "not valid multipart"),
    "cut off": (FORM, form(NAMED)[:-9], (422, "invalid-parameter"), "last boundary is missing"),
    "body that is none": ("audio/mpeg", b"just text", (415, "unsupported-media"), ""),
    "empty body": ("audio/mpeg", b"", (400, "undecodable-audio"), ""),
    "large body": ("audio/mpeg", bytes(6_000_001), (413, "payload-too-large"), "larger than 6 MB"),
}


@pytest.mark.parametrize(("content_type", "body"), TAKEN.values(), ids=TAKEN)
def test_recording_is_taken(field_service: Service, content_type: str, body: bytes) -> None:
    answer = ask(field_service.port, "POST", "/classify", {"Content-Type": content_type}, body)
    assert answer.status == 200, answer.body
    seconds = 52.0 if WAV_5_MB in body else 0.6 if WAV_5_KB in body else 1.0
    assert answer.json["duration_s"] == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize(("content_type", "body", "problem", "detail"), REFUSED.values(), ids=REFUSED)
def test_upload_that_is_no_recording_is_refused_in_words(
    field_service: Service, content_type: str | None, body: bytes, problem: tuple[int, str], detail: str
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = ask(field_service.port, "POST", "/classify", headers, body)
    assert answer.problem == problem
    assert re.search(detail, answer.json["detail"])


def test_body_of_unknown_length_is_bounded(field_service: Service) -> None:
    head = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n" % 100_000 + bytes(100_000) + b"\r\n"
    for chunks, problem in (([b"%x\r\n" % len(MP3) + MP3 + b"\r\n0\r\n\r\n"], None), ([chunk] * 61, 413)):
        with connected(field_service.port) as connection:
            connection.sendall(head + b"".join(chunks))
            assert read(connection).status == (problem or 200)


def test_client_that_waits_for_100_continue_is_told_to_go_on(field_service: Service) -> None:
    head = "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: audio/mpeg\r\nExpect: 100-continue\r\nContent-Length: "
    with connected(field_service.port) as connection:
        connection.sendall(f"{head}{len(MP3)}\r\n\r\n".encode())
        assert connection.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(MP3)
        assert read(connection).status == 200
    with connected(field_service.port) as connection:
        connection.sendall(f"{head}9000000\r\n\r\n".encode())
        assert read(connection).problem == (413, "payload-too-large")


def test_body_of_a_client_that_hangs_up_is_dropped(field_service: Service, metrics_port: int) -> None:
    gone = 'genre_http_requests_total{method="POST",route="/classify",status="499"} 1.0'
    with connected(field_service.port) as connection:
        head = "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: audio/mpeg\r\nContent-Length: 9000\r\n\r\n"
        connection.sendall(head.encode() + MP3[:3_000])
    deadline = time.monotonic() + 20
    while gone not in httpx2.get(f"http://127.0.0.1:{metrics_port}/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
