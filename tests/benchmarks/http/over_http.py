"""Throughput, latency and refusals over HTTP, and whether health checks come through meanwhile."""

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from service.runtime.resources import available_cpus
from tests.benchmarks.effort import Effort
from tests.benchmarks.http.load import Load, for_seconds, load, probe
from tests.benchmarks.http.servers import IMPATIENT, LITSERVE, NAIVE, Server, contenders, running
from tests.benchmarks.measuring import median, own_process, quantile
from tests.benchmarks.report import Row, Section

_PROBED_CLIENTS = 8


def over_http(model: Path, clips: Sequence[bytes], effort: Effort, logs: Path) -> list[Section]:
    """All servers run side by side, one of them loaded at a time."""
    with ExitStack() as stack:
        servers = [stack.enter_context(running(contender, model, logs)) for contender in contenders()]
        for server in servers:
            load(server, clips, 2, for_seconds(1))
        patient = [server for server in servers if server.contender is not IMPATIENT]
        return [_throughput(servers, clips, effort), _livez(patient, clips, effort)]


def _throughput(servers: Sequence[Server], clips: Sequence[bytes], effort: Effort) -> Section:
    loads: dict[tuple[int, str], list[Load]] = {}
    for _, clients, server in itertools.product(range(effort.load_rounds), effort.clients, servers):
        seen = load(server, clips, clients, for_seconds(effort.load_s))
        loads.setdefault((clients, server.contender.name), []).append(seen)
    naive = {clients: _clips_per_s(seen) for (clients, name), seen in loads.items() if name == NAIVE.name}
    rows = [_row(clients, name, seen, naive[clients]) for (clients, name), seen in loads.items()]
    rounds = "1 round" if effort.load_rounds == 1 else f"{effort.load_rounds} rounds"
    remarks = [
        f"{rounds} in turn; clients send for {effort.load_s:g} s, then wait for their last answers. A refused client "
        "waits as long as Retry-After says. clips/s: median of the rounds; latencies: of all answers with 200."
    ]
    if LITSERVE.name not in {server.contender.name for server in servers}:
        remarks.append("LitServe is not installed: skipped.")
    return Section("Over HTTP, 30 s clips", rows, remarks)


def _row(clients: int, name: str, loads: Sequence[Load], naive_clips_per_s: float) -> Row:
    latencies_s = [latency for seen in loads for latency in seen.latencies_s]
    clips_per_s = _clips_per_s(loads)
    return {
        "clients": clients,
        "server": name,
        "clips/s": clips_per_s,
        "times naive": clips_per_s / naive_clips_per_s if naive_clips_per_s else None,
        "core-hours a million": available_cpus() * 1e6 / clips_per_s / 3_600 if clips_per_s else None,
        "p50 s": quantile(latencies_s, 0.5),
        "p99 s": quantile(latencies_s, 0.99),
        "200": len(latencies_s),
        "429": sum(seen.statuses[429] for seen in loads),
        "errors": sum(seen.errors for seen in loads),
    }


def _clips_per_s(loads: Sequence[Load]) -> float:
    return median([seen.clips_per_s for seen in loads]) or 0.0


def _livez(servers: Sequence[Server], clips: Sequence[bytes], effort: Effort) -> Section:
    rows = [_probed(server, clips, effort.probe_s) for server in servers]
    remark = f"Asked by a process of its own, one connection, while {_PROBED_CLIENTS} clients send clips."
    return Section("Health checks while saturated", rows, [remark])


def _probed(server: Server, clips: Sequence[bytes], probe_s: float) -> Row:
    with own_process() as pool:
        # So that the start of the process is not measured.
        pool.submit(probe, server.port, server.contender.live, 0.1).result()
        probed = pool.submit(probe, server.port, server.contender.live, probe_s)
        seen = load(server, clips, _PROBED_CLIENTS, lambda: not probed.done())
        latencies_s = probed.result()
    row: Row = {"server": server.contender.name, "path": server.contender.live, "asked": len(latencies_s)}
    for share, name in ((0.5, "p50 ms"), (0.99, "p99 ms"), (1.0, "worst ms")):
        seconds = quantile(latencies_s, share)
        row[name] = None if seconds is None else seconds * 1e3
    return {**row, "clips answered": len(seen.latencies_s)}
