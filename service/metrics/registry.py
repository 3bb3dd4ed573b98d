"""The metrics of an application, in a registry of their own. Seconds and bytes; no label takes unbounded values."""

from collections.abc import Mapping
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from service.audio import WARNING_CODES
from service.errors import FAULTS
from service.metrics.recent import RecentAnswers
from service.model.artefact import Artefact
from service.runtime.stages import Stage
from service.schemas import Classification

_LATENCIES_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_DURATIONS_S = (1, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200)
_TENTHS = tuple(tenth / 10 for tenth in range(1, 11))


class Metrics:
    """The metrics of one application; a second application in the process has its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._count_requests()
        self._count_answers()
        self.recent = RecentAnswers()
        self.registry.register(self.recent)

    def _count_requests(self) -> None:
        counter, histogram = partial(Counter, registry=self.registry), partial(Histogram, registry=self.registry)
        self.http_requests = counter(
            "genre_http_requests_total",
            "HTTP requests answered, by method, route template and status.",
            ["method", "route", "status"],
        )
        self.http_request_duration = histogram(
            "genre_http_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its answer.",
            ["route"],
            buckets=_LATENCIES_S,
        )
        self.stage_duration = histogram(
            "genre_stage_duration_seconds",
            "Time a classification spends in a stage: decode_wait, decode, queue or inference.",
            ["stage"],
            buckets=_LATENCIES_S,
        )
        self.rejected = counter("genre_rejected_total", "Requests refused or failed, by problem type.", ["reason"])
        for fault in FAULTS:
            self.rejected.labels(fault.type)
        self.decoder_restarts = counter(
            "genre_decoder_restarts_total",
            "Decoder processes lost: failed on a file, ended as they overran their request, or killed from outside.",
            ["reason"],
        )
        for reason in ("failed", "overran", "killed"):
            self.decoder_restarts.labels(reason)
        self.result_cache = counter(
            "genre_result_cache_total",
            "Recordings looked up among the answers given before: hit, answered from there, or miss, classified anew.",
            ["result"],
        )
        for result in ("hit", "miss"):
            self.result_cache.labels(result)

    def _count_answers(self) -> None:
        counter, histogram = partial(Counter, registry=self.registry), partial(Histogram, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        self.queue_audio = gauge("genre_queue_audio_seconds", "Audio admitted and not yet answered.")
        self.speed = gauge(
            "genre_speed_audio_seconds_per_second", "Seconds of audio that the engine computes in a second, lately."
        )
        self.audio_duration = histogram(
            "genre_audio_duration_seconds", "Length of the recordings classified.", buckets=_DURATIONS_S
        )
        self.predictions = counter(
            "genre_predictions_total", "Recordings classified, by best genre and decision.", ["genre", "decision"]
        )
        self.confidence = histogram("genre_confidence", "Confidence of the best genre.", buckets=_TENTHS)
        self.warnings = counter(
            "genre_warnings_total",
            "Recordings that are hard to judge, by the code of the warning.",
            ["code"],
        )
        for code in WARNING_CODES:
            self.warnings.labels(code)
        self.model_info = gauge(
            "genre_model_info", "1 for the model that answers; the labels say which.", ["id", "revision", "backend"]
        )
        self.model_reloads = counter(
            "genre_model_reloads_total",
            "Commits tried after the first: swapped, refused, not_delivered by the Hub, rolled_back.",
            ["result"],
        )
        for result in ("swapped", "refused", "not_delivered", "rolled_back"):
            self.model_reloads.labels(result)
        self.model_stale = gauge(
            "genre_model_stale", "Unix time since when the Hub cannot be asked for a newer model; 0 while it can."
        )

    def model_loaded(self, artefact: Artefact, backend: str) -> None:
        """Name the model that answers, forget the answers of others, and start its genres at zero so that rates exist
        from the first request."""
        self.recent.begin(artefact)
        self.model_info.clear()
        self.model_info.labels(artefact.model_id, artefact.revision, backend).set(1)
        for genre in artefact.labels:
            for decision in ("accepted", "uncertain"):
                self.predictions.labels(genre, decision)

    def answered(self, answer: Classification, seconds: Mapping[Stage, float]) -> None:
        """Count a recording that was classified, and the seconds that it spent in each stage."""
        for stage, spent_s in seconds.items():
            self.stage_duration.labels(stage).observe(spent_s)
        self.audio_duration.observe(answer.duration_s)
        self.predictions.labels(answer.genre, answer.decision).inc()
        self.confidence.observe(answer.confidence)
        for warning in answer.warnings:
            self.warnings.labels(warning.code).inc()
        self.recent.add(answer)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
