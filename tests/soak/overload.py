"""`python -m tests.soak.overload --minutes 10`: ten times the load that the service can answer, with the full
architecture of DistilHuBERT (random weights) and default settings. Prints what became of the requests, how long they
took, how soon the service recovered, and memory over time; exits with 1 when something admitted was late, a refusal
slow, the recovery slow, or memory grew."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.children import save_model
from tests.benchmarks.clips import clips
from tests.benchmarks.http.servers import Server, ours, running
from tests.benchmarks.measuring import quantile
from tests.soak.clients import Clients
from tests.soak.watch import Watch, say

_TIMES = 10
_MEASURE_S = 20.0
_MAX_UNDER_WAY = 500
_DEADLINE_S = 60.0
_QUICK_S = 1.0
_RECOVERED_S = 10.0
_POLL_S = 0.2


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.overload", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="music-genre-overload-") as folder:
        home = Path(folder)
        save_model(home / "model")
        contender = ours(REQUEST_DEADLINE_S=f"{_DEADLINE_S:g}", LOG_LEVEL="WARNING")
        with running(contender, home / "model", home) as server:
            problems = asyncio.run(_overload(server, arguments.minutes * 60))
    for problem in problems:
        say(f"FAILED: {problem}")
    return int(bool(problems))


async def _overload(server: Server, seconds: float) -> list[str]:
    """What went wrong."""
    clients = Clients(server.port, clips(), seed=0, rude=False)
    for _ in range(2):
        capacity = await clients.measure(_MEASURE_S, clients=4)
    say(f"capacity: {capacity:.2f} answers/s; pressing with {_TIMES} times as many for {seconds:.0f} s")
    at_rest_s = await _timed(clients)
    watch = Watch(server.pid)
    watching = asyncio.create_task(watch.look_for_ever())
    pressing = asyncio.create_task(clients.press(seconds, _TIMES * capacity, _MAX_UNDER_WAY))
    await asyncio.sleep(seconds)
    ended = time.perf_counter()
    let_in_s = await _until_let_in(clients) - ended
    await pressing
    backlog_s = time.perf_counter() - ended
    recovered_s = await _timed(clients)
    watching.cancel()
    problems = [f"{count} x {what}" for what, count in clients.outcomes.items() if what not in {"200", "429"}]
    for outcome, allowed_s in (("200", _DEADLINE_S), ("429", _QUICK_S)):
        problems += _late(outcome, clients.latencies_s[outcome], allowed_s)
    say(f"{clients.outcomes['200'] / (seconds + backlog_s):.2f} answers/s")
    say(f"once nobody pressed: refused nobody after {let_in_s:.1f} s, had answered its backlog after {backlog_s:.1f} s")
    say(f"a request alone: {at_rest_s:.2f} s before, {recovered_s:.2f} s after")
    if let_in_s > _RECOVERED_S or recovered_s > at_rest_s + _QUICK_S:
        problems.append("it did not recover soon")
    return problems + watch.problems()


def _late(outcome: str, latencies_s: list[float], allowed_s: float) -> list[str]:
    """Whether one of a thousand took longer; tells how long they took."""
    median, most, worst = (quantile(latencies_s, share) or 0.0 for share in (0.5, 0.999, 1.0))
    say(f"{len(latencies_s)} x {outcome}: median {median:.3f} s, p99.9 {most:.3f} s, worst {worst:.3f} s")
    return [f"{outcome} took {most:.1f} s"] if most > allowed_s else []


async def _timed(clients: Clients) -> float:
    """Seconds until a client is answered."""
    started = time.perf_counter()
    if (outcome := await clients.ask()) != "200":
        raise RuntimeError(f"a request alone: {outcome}")
    return time.perf_counter() - started


async def _until_let_in(clients: Clients) -> float:
    """When a client was not refused: it was answered, or has waited for longer than a refusal takes."""
    while True:
        asked = time.perf_counter()
        try:
            async with asyncio.timeout(_QUICK_S):
                outcome = await clients.ask()
        except TimeoutError:
            return asked
        if outcome == "200":
            return asked
        await asyncio.sleep(_POLL_S)


if __name__ == "__main__":
    sys.exit(main())
