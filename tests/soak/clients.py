"""Clients that come whether or not the service keeps up; the rude among them cut their upload or hang up."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Sequence

_TIMEOUT_S = 120
_CUT, _HANG_UP = 0.1, 0.05

_HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
_TAIL = b"\r\n--x--\r\n"


class Clients:
    """Each request a connection of its own.

    rude: one in seven does not wait for its answer. outcomes: statuses, and what the rude did. latencies_s: by outcome,
    from the connecting on.
    """

    def __init__(self, port: int, files: Sequence[bytes], *, seed: int, rude: bool) -> None:
        self.outcomes: Counter[str] = Counter()
        self.latencies_s: defaultdict[str, list[float]] = defaultdict(list)
        self._rude = rude
        self._port = port
        self._files = files
        self._random = random.Random(seed)

    async def measure(self, seconds: float, clients: int) -> float:
        """Answers a second that so many patient clients get."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        answered = 0

        async def ask() -> None:
            nonlocal answered
            while loop.time() < end:
                outcome = await self.ask()
                answered += outcome == "200"

        await asyncio.gather(*(ask() for _ in range(clients)))
        return answered / seconds

    async def press(self, seconds: float, rate: float, most: int) -> None:
        """Send `rate` requests a second, whether or not the service keeps up, with at most `most` under way."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        due = loop.time()
        under_way: set[asyncio.Task[None]] = set()
        while loop.time() < end:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due + 1 / rate, loop.time() - 1)
            if len(under_way) < most:
                task = asyncio.create_task(self._visit())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            else:
                self.outcomes["not sent"] += 1
        await asyncio.gather(*under_way)

    async def ask(self) -> str:
        """What one patient client gets."""
        return await self._ask(self._random.choice(self._files))

    async def _visit(self) -> None:
        started = time.perf_counter()
        outcome = await (self._visit_rudely() if self._rude else self.ask())
        self.outcomes[outcome] += 1
        self.latencies_s[outcome].append(time.perf_counter() - started)

    async def _visit_rudely(self) -> str:
        file, manner = self._random.choice(self._files), self._random.random()
        cut_at = self._random.randrange(len(file)) if manner < _CUT else None
        leave_after_s = self._random.random() if _CUT <= manner < _CUT + _HANG_UP else None
        return await self._ask(file, cut_at=cut_at, leave_after_s=leave_after_s)

    async def _ask(self, file: bytes, *, cut_at: int | None = None, leave_after_s: float | None = None) -> str:
        body = _HEAD + file + _TAIL
        head = (
            "POST /classify HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    writer.write(head.encode() + body[:cut_at])
                    await writer.drain()
                    if cut_at is not None:
                        return "cut its upload"
                    if leave_after_s is not None:
                        await asyncio.sleep(leave_after_s)
                        return "hung up"
                    status = (await reader.read()).split(b" ", 2)[1:2]
                    return status[0].decode() if status else "no answer"
                finally:
                    writer.close()
        except TimeoutError:
            return "no answer in time"
        except OSError as error:
            return type(error).__name__
