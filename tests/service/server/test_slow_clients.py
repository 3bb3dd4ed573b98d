"""Slow clients against the real process: each is cut off, and holds nothing."""

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx2
import pytest

from service.server import _Lingering
from tests.service.server.raw_client import (
    HEAD,
    PART,
    WAV,
    connect,
    descriptors,
    problem,
    read,
    read_answer,
    wait_until,
)
from tests.support.service_process import Service


@pytest.mark.thorough
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
        # It may have been cut off by now.
        with suppress(BrokenPipeError, ConnectionResetError):
            connections[1].sendall(b"drop")
        time.sleep(0.1)
    for connection in connections:
        assert problem(read_answer(connection)) == (408, "upload-timeout")


@pytest.mark.thorough
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
def test_upload_with_connection_close_is_read_to_its_end(service: Service, version: bytes) -> None:
    """As proxies want it that speak HTTP/1.0. The connection was reset amid the upload, and the answer lost."""
    head = HEAD.replace(b"1.1", version) + b"Connection: close\r\nContent-Length: 8000000\r\n\r\n"
    with connect(service) as connection:
        connection.sendall(head)
        # The service reads on for a while, and not for ever.
        with suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(80):
                connection.sendall(bytes(100_000))
                time.sleep(0.005)
        assert problem(read(connection)) == (413, "payload-too-large")


def test_upload_of_a_client_that_left_is_read_no_further() -> None:
    """Regression: closing a connection that the client had reset logged a traceback."""

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
def test_client_that_reads_no_answer_is_cut_off(service: Service) -> None:
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
