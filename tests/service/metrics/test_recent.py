"""The gauges of the newest answers, as Prometheus reads them."""

from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from service.audio import WARNING_CODES
from service.metrics.recent import MIN_ANSWERS, WINDOW, RecentAnswers
from service.model.artefact import Artefact, read_artefact
from service.model.serving_file import Reference
from service.schemas import Classification, Decision, ModelReference, RecordingWarning, Score
from tests.support.processes import ROOT

_REFERENCE = Reference(
    clips=1_000, genres={"blues": 0.5, "jazz": 0.5}, confidence=[0.0] * 5 + [0.5] + [0.0] * 3 + [0.5]
)


@pytest.fixture
def artefact(model_folder: Path) -> Artefact:
    return replace(read_artefact(model_folder, model_id="you/genre", revision="new"), reference=_REFERENCE)


def registered(artefact: Artefact) -> tuple[RecentAnswers, CollectorRegistry]:
    recent, registry = RecentAnswers(), CollectorRegistry()
    registry.register(recent)
    recent.begin(artefact)
    return recent, registry


def answer(
    genre: str, confidence: float, decision: Decision = "accepted", *, revision: str = "new", is_quiet: bool = False
) -> Classification:
    return Classification(
        genre=genre,
        confidence=confidence,
        decision=decision,
        genres=None,
        scores=[Score(label=genre, score=confidence)],
        duration_s=30,
        analysed_s=30,
        warnings=[RecordingWarning(code="quiet", detail="")] if is_quiet else [],
        model=ModelReference(id="you/genre", revision=revision, backend="fixed"),
    )


def test_gauges_tell_shares_of_the_answers(artefact: Artefact) -> None:
    recent, registry = registered(artefact)
    for _ in range(MIN_ANSWERS // 2):
        recent.add(answer("blues", 1.0))
        recent.add(answer("jazz", 0.5, "uncertain", is_quiet=True))
    value = registry.get_sample_value
    assert value("genre_recent_answers") == MIN_ANSWERS
    assert value("genre_recent_confidence") == 0.75
    assert value("genre_recent_uncertain_ratio") == 0.5
    assert [value("genre_recent_genre_ratio", {"genre": genre}) for genre in ("blues", "jazz", "pop")] == [0.5, 0.5, 0]
    assert {code: value("genre_recent_warning_ratio", {"code": code}) for code in WARNING_CODES} == {
        code: 0.5 if code == "quiet" else 0 for code in WARNING_CODES
    }
    assert [value("genre_drift_psi", {"of": of}) for of in ("genres", "confidence")] == [0, 0]


def test_answers_unlike_those_of_the_training_drift(artefact: Artefact) -> None:
    recent, registry = registered(artefact)
    for _ in range(MIN_ANSWERS):
        recent.add(answer("pop", 0.45))
    for of in ("genres", "confidence"):
        psi, by_chance = (registry.get_sample_value(f"genre_drift_psi{end}", {"of": of}) for end in ("", "_by_chance"))
        assert psi is not None
        assert by_chance is not None
        assert psi > 0.25 > by_chance > 0


def test_few_answers_have_a_number_and_nothing_else(artefact: Artefact) -> None:
    recent, registry = registered(artefact)
    for _ in range(MIN_ANSWERS - 1):
        recent.add(answer("pop", 0.45))
    assert [(sample.name, sample.value) for metric in registry.collect() for sample in metric.samples] == [
        ("genre_recent_answers", MIN_ANSWERS - 1)
    ]


def test_documents_say_how_many_answers_there_are() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert f"look at: {WINDOW:,} at most; below {MIN_ANSWERS} these have no value" in text
    panels = (ROOT / "deploy" / "grafana" / "dashboards" / "music-genre.json").read_text(encoding="utf-8")
    assert f"avg(genre_recent_answers) / {WINDOW}" in panels


def test_old_answers_are_forgotten(artefact: Artefact) -> None:
    recent, registry = registered(artefact)
    for genre in ("pop", "jazz"):
        for _ in range(WINDOW):
            recent.add(answer(genre, 0.9))
    assert registry.get_sample_value("genre_recent_answers") == WINDOW
    assert registry.get_sample_value("genre_recent_genre_ratio", {"genre": "pop"}) == 0


def test_new_model_begins_anew_and_late_answers_of_the_old_one_do_not_count(artefact: Artefact) -> None:
    recent, registry = registered(artefact)
    recent.add(answer("pop", 0.9))
    recent.begin(replace(artefact, revision="newer"))
    recent.add(answer("pop", 0.9, revision="new"))
    assert registry.get_sample_value("genre_recent_answers") == 0


def test_model_without_a_reference_has_shares_and_no_drift(artefact: Artefact) -> None:
    recent, registry = registered(replace(artefact, reference=None))
    for _ in range(MIN_ANSWERS):
        recent.add(answer("pop", 0.45))
    assert registry.get_sample_value("genre_recent_confidence") == pytest.approx(0.45)
    assert registry.get_sample_value("genre_drift_psi", {"of": "genres"}) is None
