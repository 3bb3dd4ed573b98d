"""Connections that wait: idle ones stay open, slow ones do not, and a drain ends the idle ones at once."""

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.raw_http import connected, is_closed, read
from tests.support.service_process import Service, Start

pytestmark = pytest.mark.thorough

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
REFUSED = b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Type: audio/mpeg\r\nContent-Length: 9000000\r\n\r\n"


def test_idle_connection_stays_open(field_service: Service) -> None:
    """Longer than a client may keep the service waiting."""
    with connected(field_service.port) as connection:
        for pause_s in (0, 12):
            time.sleep(pause_s)
            connection.sendall(GET)
            assert read(connection).status == 200


@pytest.mark.slow
def test_connection_that_begins_a_request_is_idle_no_more(field_service: Service) -> None:
    """Nor is one on which the rest of a refused body is missing."""
    with connected(field_service.port) as slow, connected(field_service.port) as refused:
        slow.sendall(GET)
        assert read(slow).status == 200
        slow.sendall(GET[:9])
        refused.sendall(REFUSED)
        assert read(refused).status == 413
        assert not is_closed(slow, within_s=5)
        slow.sendall(GET[9:12])
        assert is_closed(slow, within_s=8)
        assert is_closed(refused, within_s=8)


@pytest.mark.slow
def test_idle_connection_ends_after_its_time_and_makes_room_for_another(start: Start, model_folder: Path) -> None:
    service = start(MODEL_ID=str(model_folder), KEEP_ALIVE_S="2", MAX_CONNECTIONS="2")
    service.wait_for("/readyz")
    time.sleep(2.5)
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(service.port))]
        for connection in connections:
            connection.sendall(GET)
            assert read(connection).status == 200
            if len(connections) < 3:
                connections.append(stack.enter_context(connected(service.port)))
        first, second, third = connections
        assert is_closed(first, within_s=0.5)
        assert not is_closed(second, within_s=0.5)
        assert is_closed(second, within_s=3)
        assert is_closed(third, within_s=3)


@pytest.mark.slow
def test_drain_ends_idle_connections_at_once(start: Start, model_folder: Path) -> None:
    service = start(MODEL_ID=str(model_folder), DRAIN_TIMEOUT_S="20")
    service.wait_for("/readyz")
    head = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: audio/mpeg\r\nContent-Length: 9\r\n\r\n"
    with connected(service.port) as idle, connected(service.port) as busy, connected(service.port) as waiting:
        idle.sendall(GET)
        assert read(idle).status == 200
        busy.sendall(head)
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        assert is_closed(idle, within_s=1)
        # Who asks for more while others finish is told to go elsewhere.
        waiting.sendall(GET)
        answer = read(waiting)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert is_closed(waiting, within_s=1)
        busy.sendall(b"no music.")
        assert read(busy).status == 415
    assert service.wait() == 0
