"""`python -m tests.soak --minutes 30`: twice the load that the service can answer, decoders killed at random, uploads
cut. Prints requests, outcomes, memory and descriptors over time; exits with 1 when something failed or grew."""

import argparse
import asyncio
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx

from tests.audio_files import encode, sweep
from tests.benchmarks.servers import Server, ours, running
from tests.process_tree import Usage, tree, usage
from tests.soak.clients import Clients
from tests.tiny_model import save

_FORMATS = ("mp3", "m4a", "webm", "flac", "ogg")
_KILL_EVERY_S = 3.0
_LOOK_EVERY_S = 2.0
_MEASURE_S = 10.0
_REST_S = 5.0
_MOST_UNDER_WAY = 200
_ALLOWED = {"200", "429", "cut its upload", "hung up", "not sent"}
_GROWTH = 0.05


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
        _say(f"FAILED: {problem}")
    return int(bool(problems))


async def _soak(server: Server, seconds: float, seed: int) -> list[str]:
    """What went wrong."""
    files = [encode(sweep(30.0), format) for format in _FORMATS]
    clients = Clients(server.port, files, seed=seed)
    # The first time warms everything up.
    for _ in range(2):
        capacity = await clients.measure(_MEASURE_S, clients=8)
    _say(f"capacity: {capacity:.1f} answers/s; pressing with twice as many for {seconds:.0f} s")
    killed, looks = [0], list[Usage]()
    disturbing = [asyncio.create_task(_kill(server.pid, killed, seed)), asyncio.create_task(_look(server.pid, looks))]
    await clients.press(seconds, 2 * capacity, _MOST_UNDER_WAY)
    for task in disturbing:
        task.cancel()
    await asyncio.sleep(_REST_S)
    _say(f"{clients.outcomes.total()} requests: {dict(clients.outcomes.most_common())}; {killed[0]} decoders killed")
    problems = [f"{count} x {what}" for what, count in clients.outcomes.items() if what not in _ALLOWED]
    before, after = _typical(looks[len(looks) // 10 : len(looks) // 5 + 1]), _typical(looks[-(len(looks) // 10 + 1) :])
    growth = after.rss_mb / before.rss_mb - 1
    rest = usage(server.pid)
    _say(f"RSS {before.rss_mb:.0f} -> {after.rss_mb:.0f} MB ({growth:+.1%}), at rest {rest.rss_mb:.0f} MB")
    _say(f"PSS {before.pss_mb:.0f} -> {after.pss_mb:.0f} MB, at rest {rest.pss_mb:.0f} MB")
    _say(f"descriptors {before.descriptors} -> {after.descriptors}, at rest {rest.descriptors}")
    if growth > _GROWTH:
        problems.append(f"memory grew by {growth:.1%}")
    async with httpx.AsyncClient(base_url=server.url, timeout=10) as session:
        metrics = (await session.get("/metrics")).text
        lines = [line for line in metrics.splitlines() if line.startswith("genre_decoder_restarts_total")]
        _say("; ".join(lines))
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


async def _look(service: int, looks: list[Usage]) -> None:
    started = time.monotonic()
    told = 0.0
    while True:
        looks.append(await asyncio.to_thread(usage, service))
        elapsed_s = time.monotonic() - started
        if elapsed_s >= told:
            _say(
                f"  {elapsed_s:6.0f} s: RSS {looks[-1].rss_mb:6.0f} MB, PSS {looks[-1].pss_mb:6.0f} MB, "
                f"{looks[-1].descriptors} descriptors"
            )
            told += 20
        await asyncio.sleep(_LOOK_EVERY_S)


def _typical(looks: list[Usage]) -> Usage:
    return Usage(
        statistics.median(look.rss_mb for look in looks),
        statistics.median(look.pss_mb for look in looks),
        round(statistics.median(look.descriptors for look in looks)),
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
