"""Many connections, and clients that hang up, against the real process."""

import re
import resource
import socket

import httpx2
import pytest

from tests.service.server.raw_client import (
    BODY,
    HEAD,
    MAX_CONNECTIONS,
    PART,
    WAV,
    connect,
    descriptors,
    exchange,
    problem,
    read,
    sized,
    wait_until,
)
from tests.support.service_process import Service


@pytest.mark.thorough
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
