"""`python -m tests.soak --minutes 30`: twice the load that the service can answer, decoders killed at random, uploads
cut. Prints requests, outcomes, memory and descriptors over time; exits with 1 when something failed or grew."""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import httpx2

from tests.benchmarks.http.servers import Server, ours, running
from tests.soak.clients import Clients
from tests.soak.watch import Watch, say
from tests.support.audio_files import encode, sweep
from tests.support.process_tree import tree
from tests.support.tiny_model import save

_FORMATS = ("mp3", "m4a", "webm", "flac", "ogg")
_KILL_EVERY_S = 3.0
_MEASURE_S = 10.0
_REST_S = 5.0
_MAX_UNDER_WAY = 200
_ALLOWED = {"200", "429", "cut its upload", "hung up", "not sent"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="music-genre-soak-") as folder:
        home = Path(folder)
        save(home / "model", ("jazz", "metal"))
        # A short queue, so that twice the load is refused and not only waited for.
        contender = ours(MAX_QUEUE_S="300", REQUEST_DEADLINE_S="30", LOG_LEVEL="WARNING")
        with running(contender, home / "model", home) as server:
            problems = asyncio.run(_soak(server, arguments.minutes * 60, arguments.seed))
    for problem in problems:
        say(f"FAILED: {problem}")
    return int(bool(problems))


async def _soak(server: Server, seconds: float, seed: int) -> list[str]:
    """What went wrong."""
    files = [encode(sweep(30.0), format) for format in _FORMATS]
    clients = Clients(server.port, files, seed=seed, rude=True)
    # The first time warms everything up.
    for _ in range(2):
        capacity = await clients.measure(_MEASURE_S, clients=8)
    say(f"capacity: {capacity:.1f} answers/s; pressing with twice as many for {seconds:.0f} s")
    killed, watch = [0], Watch(server.pid)
    disturbing = [
        asyncio.create_task(_kill(server.pid, killed, seed)),
        asyncio.create_task(watch.look_for_ever()),
    ]
    await clients.press(seconds, 2 * capacity, _MAX_UNDER_WAY)
    for task in disturbing:
        task.cancel()
    await asyncio.sleep(_REST_S)
    say(f"{clients.outcomes.total()} requests: {dict(clients.outcomes.most_common())}; {killed[0]} decoders killed")
    problems = [f"{count} x {what}" for what, count in clients.outcomes.items() if what not in _ALLOWED]
    problems += watch.problems()
    async with httpx2.AsyncClient(base_url=server.url, timeout=10) as session:
        metrics = (await session.get("/metrics")).text
        say("; ".join(line for line in metrics.splitlines() if line.startswith("genre_decoder_restarts_total")))
        response = await session.post("/classify", files={"file": files[0]})
        if response.status_code != 200:
            problems.append(f"afterwards: {response.status_code} {response.text[:200]}")
    return problems


async def _kill(service: int, killed: list[int], seed: int) -> None:
    """One of its decoders, now and then: with SIGKILL, as the kernel does for want of memory."""
    chance = random.Random(seed)
    while True:
        await asyncio.sleep(chance.expovariate(1 / _KILL_EVERY_S))
        with suppress(ProcessLookupError, IndexError):
            os.kill(chance.choice(tree(service)[1:]), signal.SIGKILL)
            killed[0] += 1


if __name__ == "__main__":
    sys.exit(main())
