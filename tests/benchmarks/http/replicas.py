"""What replicas behind nginx answer together: `python -m tests.benchmarks.http.replicas [--rounds N]`.

DistilHuBERT's size with random weights, one service with all cores against several that share the same cores, each
behind Debian's nginx as docs/deployment.md configures it. Prints Markdown. Leave the machine alone meanwhile.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.runtime.resources import available_cpus
from tests.benchmarks.children import save_model
from tests.benchmarks.clips import clips
from tests.benchmarks.http.load import Load, for_seconds, load
from tests.benchmarks.http.servers import Server, ours, running
from tests.benchmarks.measuring import machine, median, quantile
from tests.benchmarks.report import Row, Section
from tests.support import nginx
from tests.support.process_tree import usage

_COUNTS = (1, 2, 4)
_CLIENTS_A_CORE = 4
_LOAD_S = 15.0


@dataclass(frozen=True)
class Fleet:
    """Replicas that share the cores evenly, and the nginx before them."""

    replicas: Sequence[Server]
    url: str


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.http.replicas", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=5, help=f"of {_LOAD_S:g} s for each fleet")
    options = parser.parse_args()
    if nginx.MISSING:
        parser.error(nginx.MISSING)
    sys.stdout.write("".join(f"- {name}: {value}\n" for name, value in machine().items()))
    with tempfile.TemporaryDirectory(prefix="music-genre-replicas-") as folder:
        home = Path(folder)
        os.environ |= {"HF_HOME": str(home / "hub"), "HF_HUB_OFFLINE": "1"}
        save_model(home / "model", in_int8=False)
        sys.stdout.write(f"\n{_measure(home, options.rounds).markdown()}\n")


def _measure(home: Path, rounds: int) -> Section:
    music = clips()
    clients = _CLIENTS_A_CORE * available_cpus()
    seen: dict[int, list[Load]] = {count: [] for count in _COUNTS if count <= available_cpus()}
    with ExitStack() as stack:
        fleets = {count: stack.enter_context(_fleet(count, home)) for count in seen}
        for number in range(rounds + 1):
            for count, fleet in fleets.items():
                loaded = load(fleet, music, clients, for_seconds(_LOAD_S))
                if number:
                    seen[count].append(loaded)
        memory_mb = {count: _memory_mb(fleet) for count, fleet in fleets.items()}
    rows = [_row(count, loads, seen[1], memory_mb[count]) for count, loads in seen.items()]
    remark = (
        f"{rounds} rounds of {_LOAD_S:g} s in turn after one that warms up, {clients} clients on the same cores, mp3 "
        "of 30 s; clips/s: median. Each replica is pinned to its share of the cores, nginx and clients are not. All "
        "fleets run, one of them loaded. Memory: of all processes of the fleet, shared memory counted once."
    )
    return Section("Replicas on one machine", rows, [remark])


@contextmanager
def _fleet(count: int, home: Path) -> Iterator[Fleet]:
    cores = sorted(os.sched_getaffinity(0))
    folder = home / f"fleet-{count}"
    folder.mkdir()
    with ExitStack() as stack:
        replicas = []
        for number in range(count):
            # Inherited by what is started now.
            os.sched_setaffinity(0, cores[number::count])
            try:
                replicas.append(stack.enter_context(running(ours(), home / "model", folder)))
            finally:
                os.sched_setaffinity(0, cores)
        upstream, site = nginx.documented([replica.port for replica in replicas])
        yield Fleet(replicas, stack.enter_context(nginx.nginx(folder, site, upstream=upstream)))


def _memory_mb(fleet: Fleet) -> float:
    return sum(usage(replica.pid).pss_mb for replica in fleet.replicas)


def _row(count: int, loads: Sequence[Load], alone: Sequence[Load], memory_mb: float) -> Row:
    latencies_s = [latency for seen in loads for latency in seen.latencies_s]
    clips_per_s = median([seen.clips_per_s for seen in loads]) or 0.0
    ratios = [seen.clips_per_s / one.clips_per_s for seen, one in zip(loads, alone, strict=True)]
    return {
        "replicas": count,
        "clips/s": clips_per_s,
        "clips/s and core": clips_per_s / available_cpus(),
        "times one replica": median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "p50 s": quantile(latencies_s, 0.5),
        "p99 s": quantile(latencies_s, 0.99),
        "429": sum(seen.statuses[429] for seen in loads),
        "errors": sum(seen.errors for seen in loads),
        "MB": memory_mb,
    }


if __name__ == "__main__":
    main()
