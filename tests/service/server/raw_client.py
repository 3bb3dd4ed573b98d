"""A client that sends bytes as they are, and reads the answer."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.audio_files import encode, sweep
from tests.support.service_process import Service

WAV = encode(sweep(3.0), "wav")
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
BODY = PART + WAV + b"\r\n--x--\r\n"
HEAD = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
MAX_CONNECTIONS = 30


def descriptors(service: Service) -> int:
    return len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))


def wait_until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=120)


def read(connection: socket.socket) -> bytes:
    """All that comes until the service closes the connection, which it has to."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            received += data
    connection.close()
    return received


def read_answer(connection: socket.socket) -> bytes:
    """One answer. The service may go on to wait for the rest of what it refused."""
    received = b""
    while not (head := re.search(rb"(?is)content-length: (\d+).*?\r\n\r\n", received)) or len(
        received
    ) < head.end() + int(head[1]):
        received += (data := connection.recv(65_536))
        assert data, received
    connection.close()
    return received


def exchange(service: Service, data: bytes) -> bytes:
    connection = connect(service)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)
    return read(connection)


def problem(answer: bytes) -> tuple[int, str]:
    """The status and the type of the last answer in the bytes."""
    head, _, body = answer[answer.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower(), answer
    assert b"server:" not in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    return int(head.split()[1]), json.loads(body)["type"].removeprefix("urn:music-genre:")


def sized(body: bytes, length: int | None = None) -> bytes:
    return HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (len(body) if length is None else length) + body
