"""Aggregates per-window probabilities into a `Classification`."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from service.audio import AudioWarning
from service.inference.backend import Embeddings, Logits
from service.inference.engine import Engine, WindowResult
from service.model.artefact import Artefact
from service.model.familiarity import Features
from service.schemas import Classification, RecordingWarning, Score, Span

WindowProbabilities = npt.NDArray[np.float32]
"""float32 (labels,): the probabilities of one window."""


@dataclass
class WindowScores:
    """Per-window results of one recording, and how much of the recording they cover.

    rows, embeddings, logits, features: of each span (start and end in seconds); no embeddings and logits where the
    backend answers none, and no features where the model does not say what known music looks like.
    """

    spans: list[tuple[float, float]] = field(default_factory=list)
    rows: list[WindowProbabilities] = field(default_factory=list)
    embeddings: list[Embeddings] = field(default_factory=list)
    logits: list[Logits] = field(default_factory=list)
    features: list[Features] = field(default_factory=list)
    duration_s: float = 0.0
    analysed_s: float = 0.0
    warnings: list[AudioWarning] = field(default_factory=list)

    def add(self, span: tuple[float, float], result: WindowResult) -> None:
        """Take the answer to the next window."""
        self.spans.append(span)
        self.rows.append(result.probabilities)
        if result.embedding is not None:
            self.embeddings.append(result.embedding)
        if result.logits is not None:
            self.logits.append(result.logits)


def aggregate(
    engine: Engine, windows: WindowScores, top_k: int | None, *, timeline: bool, embedding: bool = False
) -> Classification:
    """The answer: mean probabilities of all windows, at least one, and with `timeline` those of each window."""
    artefact = engine.artefact
    scores = _scores(artefact, np.mean(windows.rows, axis=0))
    best = scores[0]
    genres = _over_threshold(artefact, scores)
    is_told = best.score >= artefact.confidence_threshold if genres is None else bool(genres)
    unfamiliar = _unfamiliar(artefact, windows)
    return Classification(
        genre=best.label,
        confidence=best.score,
        decision="accepted" if is_told and not unfamiliar else "uncertain",
        genres=genres,
        scores=scores[:top_k],
        duration_s=round(windows.duration_s, 3),
        analysed_s=round(windows.analysed_s, 3),
        warnings=[
            RecordingWarning(code=warning.code, detail=warning.detail) for warning in [*windows.warnings, *unfamiliar]
        ],
        timeline=_timeline(artefact, windows, top_k) if timeline else None,
        embedding=np.mean(windows.embeddings, axis=0).tolist() if embedding else None,
        logits=dict(zip(artefact.labels, np.mean(windows.logits, axis=0).tolist(), strict=True))
        if windows.logits
        else None,
        model=engine.reference,
    )


def _unfamiliar(artefact: Artefact, windows: WindowScores) -> list[AudioWarning]:
    """The warning that the model learnt from other music; none of a familiar recording."""
    if artefact.familiarity is None or not artefact.familiarity.is_unfamiliar(windows.features):
        return []
    return [AudioWarning("unfamiliar", "It sounds unlike the music that the model learnt from, so do not rely on it.")]


def _over_threshold(artefact: Artefact, scores: list[Score]) -> list[str] | None:
    """The genres that reach their threshold, best first; None of a model that tells one."""
    if artefact.thresholds is None:
        return None
    thresholds = dict(zip(artefact.labels, artefact.thresholds, strict=True))
    return [score.label for score in scores if score.score >= thresholds[score.label]]


def newest_span(artefact: Artefact, windows: WindowScores, top_k: int | None) -> Span:
    """The newest window of a timeline. At least one was heard."""
    return _span(artefact, windows.spans[-1], windows.rows[-1], top_k)


def _timeline(artefact: Artefact, windows: WindowScores, top_k: int | None) -> list[Span]:
    pairs = zip(windows.spans, windows.rows, strict=True)
    return [_span(artefact, span, row, top_k) for span, row in pairs]


def _span(artefact: Artefact, span: tuple[float, float], row: WindowProbabilities, top_k: int | None) -> Span:
    scores = _scores(artefact, row)
    return Span(
        start_s=round(span[0], 3),
        end_s=round(span[1], 3),
        genre=scores[0].label,
        confidence=scores[0].score,
        scores=scores[:top_k],
    )


def _scores(artefact: Artefact, row: WindowProbabilities) -> list[Score]:
    """The scores of all labels, best first."""
    ranked = sorted(zip(artefact.labels, map(float, row), strict=True), key=lambda pair: pair[1], reverse=True)
    return [Score(label=label, score=min(score, 1.0)) for label, score in ranked]
