"""The newest answers of the model that answers: what shows of their quality without labels, and how far it drifted."""

from collections import Counter, deque
from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.audio import WARNING_CODES
from service.metrics.drift import drift
from service.model.artefact import Artefact
from service.model.serving_file import Reference
from service.schemas import Classification

WINDOW = 1_000
"""So many answers are looked at; older ones are forgotten."""

MIN_ANSWERS = 200
"""Of fewer nothing is told but how many there are: chance alone would move them far."""

_TENTHS = 10


class _Answer(NamedTuple):
    genre: str
    confidence: float
    is_uncertain: bool
    warnings: tuple[str, ...]


class RecentAnswers(Collector):
    """The newest answers, as gauges that are computed when they are asked for."""

    def __init__(self) -> None:
        self._artefact: Artefact | None = None
        self._answers: deque[_Answer] = deque(maxlen=WINDOW)

    def begin(self, artefact: Artefact) -> None:
        """Forget all answers, and look at those of this model from now on."""
        self._artefact = artefact
        self._answers.clear()

    def add(self, answer: Classification) -> None:
        """Look at this answer too, unless a model before gave it: requests in flight finish on theirs."""
        if self._artefact is None or answer.model.revision != self._artefact.revision:
            return
        warnings = tuple(warning.code for warning in answer.warnings)
        self._answers.append(_Answer(answer.genre, answer.confidence, answer.decision == "uncertain", warnings))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges; while there are few answers, all but the first without a value."""
        yield GaugeMetricFamily(
            "genre_recent_answers",
            f"Answers that the gauges of recent answers look at, {WINDOW} at most; they need {MIN_ANSWERS}.",
            len(self._answers),
        )
        artefact = self._artefact if len(self._answers) >= MIN_ANSWERS else None
        genres = Counter(answer.genre for answer in self._answers)
        warnings = Counter(code for answer in self._answers for code in answer.warnings)
        yield self._ratios("genre_recent_genre_ratio", "genre", genres, artefact.labels if artefact else ())
        yield self._ratios("genre_recent_warning_ratio", "code", warnings, WARNING_CODES if artefact else ())
        uncertain = sum(answer.is_uncertain for answer in self._answers)
        confidence = sum(answer.confidence for answer in self._answers)
        yield self._mean("genre_recent_uncertain_ratio", "Share of recent answers that are uncertain.", uncertain)
        yield self._mean("genre_recent_confidence", "Mean confidence of recent answers.", confidence)
        yield from self._drift(genres, artefact.reference if artefact else None)

    def _ratios(self, name: str, label: str, counts: Counter[str], names: tuple[str, ...]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, f"Share of recent answers with each {label}.", labels=[label])
        for value in names:
            family.add_metric([value], counts[value] / len(self._answers))
        return family

    def _mean(self, name: str, text: str, total: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text, labels=[])
        if len(self._answers) >= MIN_ANSWERS:
            family.add_metric([], total / len(self._answers))
        return family

    def _drift(self, genres: Counter[str], reference: Reference | None) -> Iterator[GaugeMetricFamily]:
        psi = GaugeMetricFamily(
            "genre_drift_psi",
            "Population stability index of recent answers against the training's held-out clips.",
            labels=["of"],
        )
        by_chance = GaugeMetricFamily(
            "genre_drift_psi_by_chance", "What genre_drift_psi exceeds once in 100 without drift.", labels=["of"]
        )
        if reference is not None:
            tenths = Counter(min(int(answer.confidence * _TENTHS), _TENTHS - 1) for answer in self._answers)
            names = sorted(reference.genres.keys() | genres.keys())
            found = {
                "genres": drift(
                    [genres[name] for name in names],
                    [reference.genres.get(name, 0.0) for name in names],
                    reference.clips,
                ),
                "confidence": drift([tenths[tenth] for tenth in range(_TENTHS)], reference.confidence, reference.clips),
            }
            for of, value in found.items():
                psi.add_metric([of], value.psi)
                by_chance.add_metric([of], value.by_chance)
        yield psi
        yield by_chance
