"""Bytes that are no valid request, against the real process: each is refused."""

import re

import pytest

from tests.service.server.raw_client import BODY, HEAD, PART, connect, exchange, problem, read_answer, sized
from tests.support.service_process import Service


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: y\r\n" % number for number in range(9_000)) + b"\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX\x00Y: z\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nnot hexadecimal\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" + b"\x00garbage\r\n\r\n" * 1_000,
    ],
    ids=["TLS", "HTTP/2", "HTTP/0.9", "long header", "long target", "many headers", "two hosts", "NUL in a name",
         "negative length", "two lengths", "bad chunk", "pipelined garbage"],
)  # fmt: skip
def test_garbage_is_refused(service: Service, data: bytes) -> None:
    assert problem(exchange(service, data)) == (400, "bad-request")


def test_garbage_is_refused_under_an_id_of_its_own(service: Service) -> None:
    answers = [exchange(service, b"GET /livez\r\n\r\n").decode() for _ in range(2)]
    in_header, in_body = (
        [re.findall(pattern, answer) for answer in answers]
        for pattern in (r"(?i)x-request-id: ([0-9a-f]{32})\r", r'"request_id":"([0-9a-f]{32})"')
    )
    assert in_header == in_body
    assert len(set(sum(in_body, []))) == 2


def test_request_smuggling_is_one_request_or_refused(service: Service) -> None:
    inner = b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n"
    both = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n" % (len(inner) + 5)
    assert exchange(service, HEAD + both + inner).count(b"HTTP/1.1 ") == 1


def test_pipelined_requests_are_answered_in_turn(service: Service) -> None:
    one = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert exchange(service, one * 9 + last).count(b"HTTP/1.1 200 OK") == 10


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
def test_other_protocols_are_refused(service: Service, upgrade: str) -> None:
    head = f"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: {upgrade}\r\n\r\n"
    assert exchange(service, head.encode()).startswith(b"HTTP/1.1 200")


def parts(count: int, name: str, *, file: bool) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"' + ('; filename="a.wav"' if file else "")
    return b"".join(f"--x\r\n{disposition}\r\n\r\n\r\n".encode() for _ in range(count)) + b"--x--\r\n"


@pytest.mark.parametrize(
    "body",
    [b"", b"--x--\r\n", parts(1, "other", file=True), parts(2, "file", file=True), parts(10_000, "file", file=True),
     parts(10_000, "x", file=False), parts(1, "file", file=False), parts(1, "file", file=True)[:-7],
     b"--x\r\n" + b"A: b\r\n" * 20_000 + b"\r\n\r\n--x--\r\n",
     b'--x\r\nContent-Disposition: form-data; name="file"; filename="' + b"a" * 100_000 + b'"\r\n\r\n\r\n--x--\r\n'],
    ids=["empty", "no part", "no file", "two files", "10,000 files", "10,000 fields", "a field", "cut off",
         "many part headers", "long file name"],
)  # fmt: skip
def test_a_form_that_is_none_of_ours_is_refused(service: Service, body: bytes) -> None:
    assert problem(exchange(service, sized(body))) == (422, "invalid-parameter")


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/mixed; boundary=x", "multipart/form-data", ""])
def test_another_content_type_is_refused(service: Service, content_type: str) -> None:
    head = sized(BODY).replace(b"multipart/form-data; boundary=x", content_type.encode())
    assert problem(exchange(service, head)) == (422, "invalid-parameter")


def test_a_chunked_body_over_the_limit_is_refused(service: Service) -> None:
    chunk = b"186a0\r\n" + bytes(100_000) + b"\r\n"
    start = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(PART), PART)
    connection = connect(service)
    connection.sendall(start + 11 * chunk)
    assert problem(read_answer(connection)) == (413, "payload-too-large")
