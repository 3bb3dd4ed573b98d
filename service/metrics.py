"""The metrics of the service, in a registry of their own. Seconds and bytes; no label takes unbounded values."""

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

from service.model.artefact import Artefact

_LATENCIES_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_DURATIONS_S = (1, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200)
_TENTHS = tuple(tenth / 10 for tenth in range(1, 11))


class Metrics:
    """The metrics of one application; a second application in the process has its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.http_requests = Counter(
            "genre_http_requests_total",
            "HTTP requests answered, by method, route template and status.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.http_request_duration = Histogram(
            "genre_http_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its answer.",
            ["route"],
            buckets=_LATENCIES_S,
            registry=registry,
        )
        self.stage_duration = Histogram(
            "genre_stage_duration_seconds",
            "Time a classification spends in a stage: decode_wait, decode, queue or inference.",
            ["stage"],
            buckets=_LATENCIES_S,
            registry=registry,
        )
        self.queue_audio = Gauge("genre_queue_audio_seconds", "Audio admitted and not yet answered.", registry=registry)
        self.rejected = Counter(
            "genre_rejected_total",
            "Requests refused or failed, by problem type.",
            ["reason"],
            registry=registry,
        )
        self.audio_duration = Histogram(
            "genre_audio_duration_seconds",
            "Length of the recordings classified.",
            buckets=_DURATIONS_S,
            registry=registry,
        )
        self.predictions = Counter(
            "genre_predictions_total",
            "Recordings classified, by best genre and decision.",
            ["genre", "decision"],
            registry=registry,
        )
        self.confidence = Histogram(
            "genre_confidence", "Confidence of the best genre.", buckets=_TENTHS, registry=registry
        )
        self.decoder_restarts = Counter(
            "genre_decoder_restarts_total",
            "Decoder processes lost: failed on a file, ended as they overran their request, or killed from outside.",
            ["reason"],
            registry=registry,
        )
        for reason in ("failed", "overran", "killed"):
            self.decoder_restarts.labels(reason)
        self.model_info = Gauge(
            "genre_model_info",
            "1 for the model that answers; the labels say which.",
            ["id", "revision", "backend"],
            registry=registry,
        )

    def model_loaded(self, artefact: Artefact, backend: str) -> None:
        """Name the model that answers, and start its genres at zero so that rates exist from the first request."""
        self.model_info.clear()
        self.model_info.labels(artefact.model_id, artefact.revision, backend).set(1)
        for genre in artefact.labels:
            for decision in ("accepted", "uncertain"):
                self.predictions.labels(genre, decision)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)
