"""What tracing and metrics cost a request: `python -m tests.benchmarks.http.overhead [--rounds N]`.

Two services with a one-layer model, one of which sends spans to a collector on loopback, get the same clips of one
second in turn: the shorter the work, the larger the share of what is around it. Prints Markdown.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from service.metrics import Metrics
from service.metrics.recent import WINDOW
from service.model.artefact import read_artefact
from service.model.serving_file import Reference
from service.runtime.stages import Stage
from service.schemas import Classification, ModelReference, RecordingWarning, Score
from tests.benchmarks.http.load import Load, for_seconds, load
from tests.benchmarks.http.servers import Server, ours, running
from tests.benchmarks.measuring import machine, median, own_process
from tests.benchmarks.report import Row, Section
from tests.support.audio_files import encode, sweep
from tests.support.collector import Collector, collecting
from tests.support.process_tree import cpu_s
from training.synthetic.render import GENRES

_CLIENTS = 2
_LOAD_S = 5.0
_OBSERVATIONS = 1_000
_SCRAPES = 20
_STAGES: dict[Stage, float] = {"decode_wait": 0.01, "decode": 0.01, "queue": 0.01, "inference": 0.01}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.http.overhead", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--rounds", type=int, default=7, help=f"of {_LOAD_S:g} s for each service")
    options = parser.parse_args()
    sys.stdout.write("".join(f"- {name}: {value}\n" for name, value in machine().items()))
    with tempfile.TemporaryDirectory(prefix="music-genre-overhead-") as folder:
        home = Path(folder)
        os.environ |= {"HF_HOME": str(home / "hub"), "HF_HUB_OFFLINE": "1"}
        model = home / "model"
        with own_process() as pool:
            pool.submit(_save_model, model).result()
        for section in (_tracing(model, home, options.rounds), _metrics(model, options.rounds)):
            sys.stdout.write(f"\n{section.markdown()}\n")
            sys.stdout.flush()


def _save_model(folder: Path) -> None:
    from tests.support import golden_model

    golden_model.save(folder, tuple(GENRES))


def _tracing(model: Path, home: Path, rounds: int) -> Section:
    clips = [encode(sweep(1.0), "mp3")]
    seen: dict[str, list[tuple[Load, float]]] = {"none": [], "to a collector": []}
    with ExitStack() as stack:
        collector = stack.enter_context(collecting())
        plain = stack.enter_context(running(ours(), model, home))
        traced = stack.enter_context(running(ours(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url), model, home))
        servers = {"none": plain, "to a collector": traced}
        for number in range(rounds + 1):
            # In turn also within a round, so that no service always follows the other.
            for name in sorted(servers, reverse=bool(number % 2)):
                loaded = _loaded(servers[name], clips)
                if number:
                    seen[name].append(loaded)
        spans = _arrived(collector)
    requests = sum(load.statuses[200] for load, _ in seen["to a collector"])
    rows = [_row(name, figures, seen["none"]) for name, figures in seen.items()]
    remark = (
        f"{rounds} rounds of {_LOAD_S:g} s in turn after one that warms up, {_CLIENTS} clients, mp3 of 1 s, a model of "
        f"one layer; medians. CPU: of all processes of the service. {spans} spans arrived, of {requests} requests and "
        "those that warmed up."
    )
    return Section("Tracing", rows, [remark])


def _loaded(server: Server, clips: list[bytes]) -> tuple[Load, float]:
    """The load, and CPU seconds of the service a request."""
    before = cpu_s(server.pid)
    seen = load(server, clips, _CLIENTS, for_seconds(_LOAD_S))
    if seen.errors or not seen.statuses[200]:
        raise RuntimeError(f"{server.contender.name}: {dict(seen.statuses)}")
    return seen, (cpu_s(server.pid) - before) / seen.statuses[200]


def _arrived(collector: Collector) -> int:
    """Spans, once those of the last seconds have been sent."""
    time.sleep(6)
    return len(collector.spans)


def _row(name: str, figures: list[tuple[Load, float]], plain: list[tuple[Load, float]]) -> Row:
    rates = [seen.clips_per_s for seen, _ in figures]
    cpu = [cpu for _, cpu in figures]
    ratios = [ours / other for (_, ours), (_, other) in zip(figures, plain, strict=True)]
    return {
        "traces": name,
        "requests/s": median(rates),
        "CPU ms a request": (median(cpu) or 0.0) * 1e3,
        "times without": median(ratios),
        "least": min(ratios),
        "most": max(ratios),
    }


def _metrics(model: Path, rounds: int) -> Section:
    """What a request observes, and a scrape, in this process."""
    metrics = Metrics()
    artefact = replace(
        read_artefact(model, model_id="you/genre", revision="c" * 40),
        reference=Reference(clips=100, genres=dict.fromkeys(GENRES, 0.1), confidence=[0.1] * 10),
    )
    metrics.model_loaded(artefact, "fixed")
    answers = [_answer(genre) for genre in artefact.labels]

    def observe(number: int) -> None:
        metrics.http_requests.labels("POST", "/classify", "200").inc()
        metrics.http_request_duration.labels("/classify").observe(0.5)
        metrics.answered(answers[number % len(answers)], _STAGES)

    for number in range(WINDOW):
        observe(number)
    rows: list[Row] = [
        {"what": "what a request observes", "CPU ms": _cpu_ms(observe, _OBSERVATIONS, rounds)},
        {"what": "a scrape of /metrics", "CPU ms": _cpu_ms(lambda _: metrics.render(), _SCRAPES, rounds)},
    ]
    remark = (
        f"In one process, median of {rounds}; a scrape with {WINDOW} recent answers is {len(metrics.render())} bytes."
    )
    return Section("Metrics", rows, [remark])


def _cpu_ms(work: Callable[[int], object], count: int, rounds: int) -> float:
    """Milliseconds of CPU that each call takes: others who share the cores do not count."""
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        for number in range(count):
            work(number)
        seconds.append(time.process_time() - started)
    return (median(seconds) or 0.0) / count * 1e3


def _answer(genre: str) -> Classification:
    return Classification(
        genre=genre,
        confidence=0.9,
        decision="accepted",
        genres=None,
        scores=[Score(label=genre, score=0.9)],
        duration_s=30,
        analysed_s=30,
        warnings=[RecordingWarning(code="quiet", detail="")],
        model=ModelReference(id="you/genre", revision="c" * 40, backend="fixed"),
    )


if __name__ == "__main__":
    main()
