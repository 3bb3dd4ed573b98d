"""Requests as bytes over a socket: what clients really write, without a library that would tidy them."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> tuple[int, str]:
        """The status and the type of a problem."""
        assert self.headers["content-type"] == "application/problem+json", self
        return self.status, self.json["type"].removeprefix("urn:music-genre:")


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        yield connection


def read(connection: socket.socket, method: str = "GET") -> Answer:
    """The next answer on a connection that stays open."""
    response = HTTPResponse(connection, method=method)
    response.begin()
    body = response.read()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def ask(port: int, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
    """One request on a connection of its own."""
    sent = {"Host": "service"} | (headers or {}) | ({} if body is None else {"Content-Length": str(len(body))})
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    with connected(port) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))
        return read(connection, method)


def is_closed(connection: socket.socket, *, within_s: float) -> bool:
    """Whether the service ends the connection in that time."""
    connection.settimeout(within_s)
    try:
        return connection.recv(65_536) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
