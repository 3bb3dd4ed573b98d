"""Slow and rude clients against the real process: each costs its own connection, and leaves nothing behind."""

import asyncio
import contextlib
import json
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from service.server import _Lingering
from tests.support.audio_files import encode, sweep
from tests.support.service_process import Service

WAV = encode(sweep(3.0), "wav")
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
BODY = PART + WAV + b"\r\n--x--\r\n"
HEAD = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
MAX_CONNECTIONS = 30


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tmp")


@pytest.fixture(scope="module")
def running(model_folder: Path, temporary: Path) -> Iterator[Service]:
    settings = {"UPLOAD_TIMEOUT_S": "1.5", "MAX_CONNECTIONS": str(MAX_CONNECTIONS), "MAX_UPLOAD_MB": "1"}
    service = Service(MODEL_ID=str(model_folder), TMPDIR=str(temporary), **settings)
    try:
        service.wait_for("/readyz")
        # The page comes later.
        service.wait_for("/ui/")
        # What the first request opens stays open.
        for _ in range(3):
            assert service.classify(WAV).status_code == 200
        yield service
        assert service.stop() == 0
    finally:
        service.process.kill()
    errors = [entry for entry in service.log if entry["level"] in {"ERROR", "CRITICAL"}]
    # The event loop tells when there are no descriptors.
    assert [entry for entry in errors if entry["logger"] != "asyncio"] == []
    assert list(temporary.iterdir()) == []


@pytest.fixture
def service(running: Service, temporary: Path) -> Iterator[Service]:
    """The service, which afterwards still answers and holds nothing more than before."""
    before = descriptors(running)
    yield running
    assert running.classify(WAV).status_code == 200
    wait_until(lambda: "genre_queue_audio_seconds 0.0\n" in httpx2.get(f"{running.url}/metrics").text)
    wait_until(lambda: descriptors(running) <= before)
    wait_until(lambda: not [path for path in temporary.rglob("*") if path.is_file()])


def descriptors(service: Service) -> int:
    return len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))


def wait_until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=40)


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


# Slow


def test_slow_uploads_time_out_and_hold_no_slot(service: Service) -> None:
    """Stalled, in drops, chunked, and for the page."""
    begun = b"Content-Length: 900000\r\n\r\n" + PART + WAV[:5_000]
    page = HEAD.replace(b"/classify", b"/ui/gradio_api/upload") + begun.replace(b'"file"', b'"files"')
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(PART), PART)
    connections = [connect(service) for _ in range(4)]
    for connection, start in zip(connections, (HEAD + begun, HEAD + begun, chunked, page), strict=True):
        connection.sendall(start)
    for _ in range(20):
        assert "genre_queue_audio_seconds 0.0" in httpx2.get(f"{service.url}/metrics").text
        connections[1].sendall(b"drop")
        time.sleep(0.1)
    for connection in connections:
        assert problem(read_answer(connection)) == (408, "upload-timeout")


def test_a_client_that_keeps_the_service_waiting_is_cut_off(service: Service) -> None:
    """It says nothing, half a head, a head in drops, half a head after a first request, or goes on after a refusal."""
    first = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    refused = HEAD + b"Content-Length: 100000000\r\n\r\n"
    starts = [b"", b"POST /classify HT", b"GET /livez HTTP/1.1\r\n", first + b"GET /li", refused]
    dripping = [b"", b"", b"X: y\r\n", b"v", b"more"]
    connections = [connect(service) for _ in starts]
    for connection, start in zip(connections, starts, strict=True):
        connection.sendall(start)

    def drip(connection: socket.socket, drop: bytes) -> bytes:
        """What came until the service closed the connection."""
        received = b""
        connection.settimeout(1)
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            try:
                connection.sendall(drop)
                if not (data := connection.recv(65_536)):
                    return received
                received += data
            except TimeoutError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                return received
        raise AssertionError("the connection stays open")

    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(drip, connections, dripping))
    for connection in connections:
        connection.close()
    assert [b"HTTP/1.1 200" in answer for answer in answers] == [False, False, False, True, False]
    assert problem(answers[4]) == (413, "payload-too-large")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_who_wants_the_connection_closed_is_heard_out(service: Service, version: bytes) -> None:
    """As proxies want it that speak HTTP/1.0. The connection was reset amid the upload, and the answer lost."""
    head = HEAD.replace(b"1.1", version) + b"Connection: close\r\nContent-Length: 8000000\r\n\r\n"
    with connect(service) as connection:
        connection.sendall(head)
        for _ in range(80):
            connection.sendall(bytes(100_000))
            time.sleep(0.005)
        assert problem(read(connection)) == (413, "payload-too-large")


def test_who_is_gone_is_not_heard_out() -> None:
    """Found by an attacker, as a traceback in the log."""

    async def leave() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            accepted, _ = server.accept()
            transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, accepted)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            client.close()
            lingering = _Lingering(transport, lambda: True, loop)
            lingering.close()
            assert lingering.is_closing()
            await asyncio.sleep(0.1)
            assert accepted.fileno() == -1

    asyncio.run(leave())


@pytest.mark.slow
def test_who_reads_nothing_is_cut_off(service: Service) -> None:
    """Half a minute: what the kernel holds for the client must be refused for so long."""
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        reader.connect(("127.0.0.1", service.port))
        reader.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 400)
        time.sleep(5)
        before = descriptors(service)
        time.sleep(10)
        assert descriptors(service) == before
        wait_until(lambda: descriptors(service) < before, seconds=60)


# Many


def test_one_connection_too_many_is_told_so(service: Service) -> None:
    wait_until(lambda: b" 200 " in exchange(service, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    idle = [connect(service) for _ in range(MAX_CONNECTIONS)]
    refused = read(connect(service))
    assert problem(refused) == (503, "too-many-connections")
    assert b"retry-after: 5" in refused.lower()
    # Those that are in are served.
    idle[0].sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert idle[0].recv(4_096).startswith(b"HTTP/1.1 200")
    for connection in idle:
        connection.close()
    wait_until(lambda: b" 200 " in exchange(service, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))


def test_without_descriptors_it_waits_and_goes_on_once_there_are_some(service: Service) -> None:
    _, hard = limits = resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (descriptors(service) + 3, hard))
    waiting = [connect(service) for _ in range(10)]
    try:
        for connection in waiting:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        # As each is answered and closed, the next is let in.
        assert all(read(connection).startswith(b"HTTP/1.1 200") for connection in waiting)
    finally:
        resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, limits)


# Gone


def test_clients_that_hang_up_leave_nothing(service: Service) -> None:
    """In the middle of their upload, in the middle of the work, politely and by reset."""
    page = HEAD.replace(b"/classify", b"/ui/gradio_api/upload") + b"Content-Length: 900000\r\n\r\n"
    for sent in (HEAD, sized(BODY[:3_000], len(BODY)), sized(BODY), page + PART + WAV[:100_000]):
        for linger in (None, b"\x01\x00\x00\x00\x00\x00\x00\x00"):
            connection = connect(service)
            connection.sendall(sent)
            if linger:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()

    def gone() -> bool:
        series = 'genre_http_requests_total{method="POST",route="/classify",status="499"}'
        found = re.search(re.escape(series) + r" (\S+)", httpx2.get(f"{service.url}/metrics").text)
        return bool(found) and float(found[1]) >= 2  # type: ignore[index]

    wait_until(gone)


# Garbage


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


def test_what_smugglers_send_is_one_request_or_refused(service: Service) -> None:
    inner = b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n"
    both = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n" % (len(inner) + 5)
    assert exchange(service, HEAD + both + inner).count(b"HTTP/1.1 ") == 1


def test_pipelined_requests_are_answered_in_turn(service: Service) -> None:
    one = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert exchange(service, one * 9 + last).count(b"HTTP/1.1 200 OK") == 10


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
def test_there_is_no_other_protocol(service: Service, upgrade: str) -> None:
    head = f"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: {upgrade}\r\n\r\n"
    assert exchange(service, head.encode()).startswith(b"HTTP/1.1 200")


# Wrong


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
