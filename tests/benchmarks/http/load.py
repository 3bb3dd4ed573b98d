"""Load over HTTP: clients that each send their next clip when the last one is answered."""

import asyncio
import http.client
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import httpx2

_TIMEOUT_S = 900
_RETRY_S = 0.05


class Addressed(Protocol):
    """A server, or the proxy before several."""

    @property
    def url(self) -> str: ...


@dataclass
class Load:
    """What the clients saw. latencies_s: of the answers with 200. elapsed_s: until the last of them."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: Counter[int | str] = field(default_factory=Counter)
    elapsed_s: float = 0.0

    @property
    def clips_per_s(self) -> float:
        return len(self.latencies_s) / self.elapsed_s if self.latencies_s else 0.0

    @property
    def errors(self) -> int:
        """Answers that are neither 200 nor 429, and requests without any answer."""
        return self.statuses.total() - self.statuses[200] - self.statuses[429]


def load(
    server: Addressed, clips: Sequence[bytes], clients: int, keep_going: Callable[[], bool], path: str = "/classify"
) -> Load:
    """Send while `keep_going`, then wait for what is under way. A client that gets 429 obeys its Retry-After."""
    return asyncio.run(_load(f"{server.url}{path}", clips, clients, keep_going))


def for_seconds(seconds: float) -> Callable[[], bool]:
    """True for so long from now."""
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() < end


def probe(port: int, path: str, seconds: float, interval_s: float = 0.02) -> list[float]:
    """Seconds that each GET took, one connection, one after the other. Raises when one is not answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    keep_going = for_seconds(seconds)
    latencies_s = []
    while keep_going():
        started = time.perf_counter()
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        latencies_s.append(time.perf_counter() - started)
        if response.status != 200:
            raise RuntimeError(f"{path} answered {response.status}")
        time.sleep(interval_s)
    connection.close()
    return latencies_s


async def _load(url: str, clips: Sequence[bytes], clients: int, keep_going: Callable[[], bool]) -> Load:
    # Encoded once: the clients share the cores with what they measure.
    requests = [_encoded(url, clip) for clip in clips]
    seen = Load()
    started = time.perf_counter()

    async def client(number: int) -> None:
        while keep_going():
            content, headers = requests[number % len(requests)]
            number += 1
            sent = time.perf_counter()
            try:
                response = await session.post(url, content=content, headers=headers)
            except httpx2.TransportError as error:
                seen.statuses[type(error).__name__] += 1
                await _pause(_RETRY_S, keep_going)
                continue
            seen.statuses[response.status_code] += 1
            if response.status_code == 200:
                seen.latencies_s.append(time.perf_counter() - sent)
                seen.elapsed_s = time.perf_counter() - started
            else:
                await _pause(float(response.headers.get("Retry-After", _RETRY_S)), keep_going)

    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=_TIMEOUT_S, limits=limits, trust_env=False) as session:
        await asyncio.gather(*(client(number) for number in range(clients)))
    return seen


def _encoded(url: str, clip: bytes) -> tuple[bytes, dict[str, str]]:
    request = httpx2.Request("POST", url, files={"file": ("clip.mp3", clip, "audio/mpeg")})
    return request.read(), {"Content-Type": request.headers["Content-Type"]}


async def _pause(seconds: float, keep_going: Callable[[], bool]) -> None:
    end = time.perf_counter() + seconds
    while keep_going() and time.perf_counter() < end:
        await asyncio.sleep(_RETRY_S)
