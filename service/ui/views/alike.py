"""The recordings of a visit by how much alike they sound to the model: a map, and a table in that order."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from service.schemas import Classification
from service.ui.views.figures import colours
from service.ui.views.results_table import Result, failure, result

Vectors = npt.NDArray[np.float32]

_MAX_SHOWN = 50
# More names would lie over each other, as would those of points nearer than so many per cent of width and height.
# The others appear on hover and focus.
_MAX_NAMED = 6
_NAME_ROOM = (25, 6)
# Per cent from the middle to the edge of the map, which is twice as wide as high.
_REACH = 42.0


@dataclass(frozen=True)
class Recording:
    """A recording of a visit.

    number: counts those of the visit, from 1. colour: of its genre. embedding: float32 (dimensions,) of length 1; None
    where there is none.
    """

    number: int
    row: Result
    colour: str = ""
    embedding: Vectors | None = None


def classified(number: int, name: str, answer: Classification) -> Recording:
    """A recording with its answer."""
    colour = colours([score.label for score in answer.scores])[answer.genre]
    return Recording(number, result(name, answer), colour, _unit(answer.embedding) if answer.embedding else None)


def failed(number: int, name: str, words: str) -> Recording:
    """A recording without one."""
    return Recording(number, failure(name, words))


def render(recordings: Sequence[Recording], number: int | None = None) -> str:
    """HTML: the map and the table around the recording of this number, or around the latest.

    Empty of fewer than two recordings with embeddings of one model: others cannot be compared.
    """
    known = [recording for recording in recordings if recording.embedding is not None]
    if not known:
        return ""
    chosen = next((recording for recording in known if recording.number == number), known[-1])
    nearest = _nearest(chosen, known)
    if len(nearest) < 2:
        return ""
    shown = nearest[:_MAX_SHOWN]
    left_out = f" {len(nearest) - len(shown)} less alike are left out." if len(nearest) > len(shown) else ""
    points, share = project(
        np.stack([recording.embedding for recording, _ in shown if recording.embedding is not None])
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(recording.row["file"])}</th><td>{escape(recording.row["genre"])}</td>'
        f"<td>{similarity:.2f}</td></tr>"
        for recording, similarity in shown[1:]
    )
    return (
        f'<section class="alike" aria-label="Find alike"><h3>Most like {escape(chosen.row["file"])}</h3>'
        "<p>What sounds alike to the model lies close together. Choose a recording to see what is most like it."
        f"{left_out}</p>"
        f'<div class="map" role="group" aria-label="Map of the recordings">{_buttons(shown, points)}</div>'
        f"<p>The map shows {share:.0%} of the differences; the table tells all of them: 1.00 is the same sound.</p>"
        '<table><thead><tr><th scope="col">Recording</th><th scope="col">Genre</th><th scope="col">Similarity</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></section>"
    )


def project(embeddings: Vectors) -> tuple[Vectors, float]:
    """The two principal components of embeddings (n, dimensions), float32 (n, 2), and their share of the variance."""
    centred = embeddings - embeddings.mean(axis=0)
    left, strengths, axes = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(embeddings), 2), np.float32)
    kept = min(2, len(strengths))
    # An axis has no direction of its own: its largest part is made positive, so that the map does not flip.
    signs = np.sign(axes[np.arange(kept), np.abs(axes[:kept]).argmax(axis=1)])
    points[:, :kept] = left[:, :kept] * strengths[:kept] * signs
    variance = float((strengths**2).sum())
    return points, float((strengths[:kept] ** 2).sum()) / variance if variance else 1.0


def _nearest(chosen: Recording, known: Sequence[Recording]) -> list[tuple[Recording, float]]:
    """The recordings that the model of `chosen` heard with their cosine similarities to it, itself first."""
    pairs = [
        (recording, float(np.dot(recording.embedding, chosen.embedding)))
        for recording in known
        if recording.embedding is not None
        and chosen.embedding is not None
        and recording.row["model"] == chosen.row["model"]
    ]
    return sorted(pairs, key=lambda pair: (pair[0] is not chosen, -pair[1], -pair[0].number))


def _buttons(shown: Sequence[tuple[Recording, float]], points: Vectors) -> str:
    """A button for each point, at its place; its name stands on the side that has more room."""
    width, height = np.abs(points).max(axis=0)
    # One scale for both axes, as distances shall be told truly.
    scale = min(_REACH / max(width, 1e-6), _REACH / 2 / max(height, 1e-6))
    buttons = []
    named: list[tuple[float, float]] = []
    for place, ((recording, similarity), (x, y)) in enumerate(zip(shown, points, strict=True)):
        left, top = 50 + scale * x, 50 - 2 * scale * y
        is_free = all(abs(left - x) > _NAME_ROOM[0] or abs(top - y) > _NAME_ROOM[1] for x, y in named)
        if is_named := is_free and len(named) < _MAX_NAMED:
            named.append((left, top))
        classes = "west" * bool(left > 50) + " named" * is_named
        pressed = "false" if place else "true"
        text = f"{recording.row['file']}: {recording.row['genre']}, similarity {similarity:.2f}"
        buttons.append(
            f'<button type="button" class="{classes}" style="left:{left:.1f}%;top:{top:.1f}%" '
            f'data-number="{recording.number}" aria-pressed="{pressed}" aria-label="{escape(text)}">'
            f'<i style="background:{recording.colour}"></i><span>{escape(recording.row["file"])}</span></button>'
        )
    return "".join(buttons)


def _unit(embedding: list[float]) -> Vectors:
    vector = np.array(embedding, np.float32)
    unit: Vectors = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return unit
