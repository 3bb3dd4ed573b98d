"""The answer for people: the genre in large type, how sure, how much was heard, which model answered."""

from html import escape

from service.schemas import Classification
from service.ui.views.wording import clock, percent, sureness

_MAX_CANDIDATES = 3


def render(answer: Classification, *, progress: str | None = None) -> str:
    """HTML of the answer. progress: how far listening has come, while it goes on."""
    accepted = answer.decision == "accepted"
    genres = (answer.genres or [answer.genre]) if accepted else candidates(answer)
    before = "So far it sounds like" if progress else "This sounds like"
    return (
        f'<section class="answer {answer.decision}" aria-label="Answer">'
        f'<p class="before">{before if accepted else "Hard to tell. It may be"}</p>'
        f'<h2 class="genre">{_listed([escape(genre) for genre in genres], "and" if accepted else "or")}</h2>'
        f'<p class="sure">{_sure(answer)}</p>'
        f'<p class="facts">{progress or _facts(answer)}</p>{_warnings(answer)}</section>'
    )


def candidates(answer: Classification) -> list[str]:
    """The two or three genres that an uncertain answer may mean; a third has half the share of the best."""
    best, *others = answer.scores[:_MAX_CANDIDATES]
    return [best.label, *(o.label for place, o in enumerate(others) if place == 0 or o.score >= best.score / 2)]


def _listed(genres: list[str], last_word: str) -> str:
    *most, last = genres
    return f"{', '.join(most)} <small>{last_word}</small> {last}" if most else last


def _sure(answer: Classification) -> str:
    if answer.decision == "accepted":
        return f"<strong>{percent(answer.confidence)}</strong>, {sureness(answer.confidence)}"
    score = f"{percent(answer.confidence)} for {escape(answer.genre)}"
    if any(warning.code == "unfamiliar" for warning in answer.warnings):
        return f"<strong>Uncertain</strong>: {score}, from a model that does not know such recordings."
    return f"<strong>Uncertain</strong>: {score}, too little to settle on."


def _warnings(answer: Classification) -> str:
    items = "".join(f"<li>{escape(warning.detail)}</li>" for warning in answer.warnings)
    return f'<p class="before">Hard to judge:</p><ul class="warnings">{items}</ul>' if items else ""


def _facts(answer: Classification) -> str:
    model = answer.model
    return (
        f"Listened to {clock(answer.analysed_s)} of {clock(answer.duration_s)}. Answered by "
        f"<code>{escape(model.id)}</code>, commit <code>{escape(model.revision[:12])}</code>."
    )
