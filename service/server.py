"""uvicorn server with a connection limit, timeouts for slow and idle clients, and a drain before shutdown."""

import asyncio
import logging
import resource
import socket
import time
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from types import FrameType
from typing import Any, ClassVar, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from service import problems
from service.errors import BadRequest, ServiceError, TooManyConnections
from service.metrics import Metrics
from service.middleware.drain import Drain
from service.middleware.security_headers import add_security_headers

logger = logging.getLogger(__name__)

BACKLOG = 128
"""Connections that wait to be let in. Not many, as out of descriptors Python 3.11 logs a line for each of them."""

_OWN_DESCRIPTORS = 256
_CLIENT_S = 10.0
"""Seconds in which a client must have sent the head of a request, or the rest of a refused body."""

_CLOSING_S = 1
"""Seconds that connections which only listen, such as those of open pages, keep the server after the drain."""

_EXIT_S = 1
"""Seconds that everything else takes until the process is gone."""

_SLICE_BYTES = 8_192
_WRITING_MS = 30_000
_RETRY_S = 5
_POLL_S = 0.05


class Server(uvicorn.Server):
    """Drains before it closes its doors; ends at once at the second signal.

    exit_now: called at the second signal; must not return.
    """

    def __init__(self, config: uvicorn.Config, drain: Drain, *, drain_timeout_s: float, exit_now: Callable[[], None]):
        super().__init__(config)
        self._drain = drain
        self._drain_timeout_s = drain_timeout_s
        self._exit_now = exit_now

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to shut down at the first signal, exit at the second."""
        if self._captured_signals:
            self._exit_now()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then close the sockets. Idle connections are closed at once: their next request would be refused."""
        self._drain.begin()
        for connection in list(self.server_state.connections):
            if isinstance(connection, PatientProtocol) and connection.is_idle:
                connection.shutdown()
        deadline = time.monotonic() + self._drain_timeout_s - _CLOSING_S - _EXIT_S
        # Polled, as `is_busy` of the classifier is no event.
        while not self._drain.done and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        self.config.timeout_graceful_shutdown = _CLOSING_S
        await super().shutdown(sockets)


def allow_descriptors(max_connections: int, files: int) -> None:
    """Let the process open what so many connections can need: a socket, and a temporary file for each of the `files`
    recordings that a request may hold and for a copy. Without descriptors the event loop can only log and try again.

    Warns where the system does not allow what requests of one recording need.
    """
    wanted = (files + 2) * max_connections + _OWN_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    needed = 3 * max_connections + _OWN_DESCRIPTORS
    if allowed < needed:
        logger.warning("MAX_CONNECTIONS needs %d descriptors, and %d are allowed. Raise ulimit -n.", needed, allowed)


def protocol(max_connections: int, uncounted_port: int | None, metrics: Metrics) -> type[H11Protocol]:
    """The protocol with its limits: uvicorn takes a class, and makes an object of it for each connection.

    uncounted_port: a port whose connections are always accepted. metrics: count the refusals.
    """
    limits = {"max_connections": max_connections, "uncounted_port": uncounted_port, "metrics": metrics}
    return type("Protocol", (PatientProtocol,), limits)


class _Turn(Enum):
    """Whose turn it is on a connection; NOBODY after an answer, until the next request begins."""

    SERVICE = "service"
    CLIENT = "client"
    NOBODY = "nobody"


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, which closes the connection of a client that keeps it waiting, and lets a connection
    over the limit replace the one that is idle for longest, or answers it with 503. `protocol` makes a class of it with
    limits.
    """

    max_connections: ClassVar[int]
    uncounted_port: ClassVar[int | None]
    metrics: ClassVar[Metrics]
    _turn = _Turn.SERVICE
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Bound a new connection, or refuse it."""
        super().connection_made(cast(asyncio.Transport, _Lingering(transport, self._is_uploading, self.loop)))
        self._close_now = transport.close
        # What asyncio reads at once, which the parser takes in one go while everybody else waits.
        setattr(transport, "max_size", _SLICE_BYTES)  # noqa: B010
        _bound_writing(transport)
        is_counted = self.server is not None and self.server[1] != self.uncounted_port
        if is_counted and len(self.connections) > self.max_connections and not self._replaces_idle():
            detail = "The service has as many connections as it takes. Try again later."
            self._refuse(TooManyConnections(detail, retry_after_s=_RETRY_S))
        else:
            self._set_clock()

    def data_received(self, data: bytes) -> None:
        """Parse what the client sent."""
        # In slices, as the parser's bound on a head counts only what is still incomplete after each.
        for start in range(0, len(data), _SLICE_BYTES):
            if not self.transport.is_closing():
                super().data_received(data[start : start + _SLICE_BYTES])
        self._set_clock()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for it."""
        super().on_response_complete()
        self._set_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock of a connection that has ended."""
        super().connection_lost(exc)
        if self._clock:
            self._clock.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with a problem."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self._refuse(BadRequest("This is not a valid request of HTTP 1.1."))
        else:
            self.transport.close()

    def _is_uploading(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY

    @property
    def is_idle(self) -> bool:
        """Whether the last request is answered, and nothing of a next one has arrived."""
        return self._turn is _Turn.NOBODY and not self.transport.is_closing()

    def _set_clock(self) -> None:
        """Start the clock that belongs to the turn. More bytes within a turn do not reset it."""
        if (turn := self._whose_turn()) is self._turn:
            return
        self._turn = turn
        if self._clock:
            self._clock.cancel()
        if turn is not _Turn.SERVICE:
            patience_s = _CLIENT_S if turn is _Turn.CLIENT else self.timeout_keep_alive
            self._clock = self.loop.call_later(patience_s, self._close_now)

    def _whose_turn(self) -> _Turn:
        if self.cycle is None:
            return _Turn.CLIENT
        if not self.cycle.response_complete:
            return _Turn.SERVICE
        has_begun = self.conn.their_state is not h11.IDLE or self.conn.trailing_data[0]
        return _Turn.CLIENT if has_begun else _Turn.NOBODY

    def _replaces_idle(self) -> bool:
        """Close the connection that is idle for longest; False when none is."""
        idle = [one for one in self.connections if isinstance(one, PatientProtocol) and one.is_idle and one._clock]
        if not idle:
            return False
        min(idle, key=lambda one: one._clock.when() if one._clock else 0).shutdown()
        return True

    def _refuse(self, error: ServiceError) -> None:
        answer = problems.connection_problem(error)
        self.metrics.rejected.labels(error.type).inc()
        add_security_headers(answer.headers)
        answer.headers["Connection"] = "close"
        head = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
        status = HTTPStatus(answer.status_code)
        line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
        self.transport.write(line + head + b"\r\n" + bytes(answer.body))
        self.transport.close()


class _Lingering:
    """A transport that hears out a client which uploads still, before it closes the connection: what is not read resets
    it, and the client may never see its answer (RFC 9112, 9.6)."""

    def __init__(
        self, transport: asyncio.Transport, is_uploading: Callable[[], bool], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._transport = transport
        self._is_uploading = is_uploading
        self._loop = loop
        self._lingers = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._lingers or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing() or not self._is_uploading() or not self._write_eof():
            self._transport.close()
            return
        self._lingers = True
        self._transport.resume_reading()
        self._loop.call_later(_CLIENT_S, self._transport.close)

    def _write_eof(self) -> bool:
        """Tell the client that nothing more is sent; False when the client has just gone."""
        try:
            self._transport.write_eof()
        except OSError:
            return False
        return True


def _bound_writing(transport: asyncio.Transport) -> None:
    """Let the kernel drop a client that takes nothing of what it is sent. Only Linux can."""
    if option := getattr(socket, "TCP_USER_TIMEOUT", None):
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, _WRITING_MS)
