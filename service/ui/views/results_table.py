"""The results of a visit: a table, and the same as CSV and JSON."""

import base64
import csv
import io
import json
from typing import TypedDict

from service.schemas import Classification
from service.spreadsheets import escape_formula
from service.ui.views.wording import clock, percent

MOST_RESULTS = 200


class Result(TypedDict):
    """A row of the table; also what is downloaded."""

    file: str
    genre: str
    confidence: float | None
    decision: str
    second: str
    duration_s: float | None
    analysed_s: float | None
    model: str


HEADERS = ["File", "Genre", "Confidence", "Decision", "Second best", "Length", "Heard", "Model"]


def result(name: str, answer: Classification) -> Result:
    """The row of a recording that was classified."""
    return Result(
        file=name,
        genre=answer.genre,
        confidence=round(answer.confidence, 4),
        decision=answer.decision,
        second="".join(score.label for score in answer.scores[1:2]),
        duration_s=answer.duration_s,
        analysed_s=answer.analysed_s,
        model=f"{answer.model.id}@{answer.model.revision[:12]}",
    )


def failure(name: str, words: str) -> Result:
    """The row of a recording that was not."""
    return Result(
        file=name, genre="", confidence=None, decision=words, second="", duration_s=None, analysed_s=None, model=""
    )


def rows(results: list[Result]) -> list[list[str]]:
    """Rows of the table, newest first."""
    return [
        [
            row["file"],
            row["genre"],
            "" if row["confidence"] is None else percent(row["confidence"]),
            row["decision"],
            row["second"],
            "" if row["duration_s"] is None else clock(row["duration_s"]),
            "" if row["analysed_s"] is None else clock(row["analysed_s"]),
            row["model"],
        ]
        for row in reversed(results)
    ]


def downloads(results: list[Result]) -> str:
    """HTML: links that hold the files themselves, so that nothing is stored on the server."""
    if not results:
        return ""
    links = (("CSV", "text/csv", to_csv(results)), ("JSON", "application/json", json.dumps(results, indent=1)))
    return "".join(
        f'<a class="download" download="genres.{name.lower()}" '
        f'href="data:{kind};base64,{base64.b64encode(text.encode()).decode()}">Download {name}</a>'
        for name, kind, text in links
    )


def to_csv(results: list[Result]) -> str:
    """The results as CSV, safe to open in a spreadsheet."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(Result.__annotations__), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in results)
    return file.getvalue()


def _cell(value: object) -> object:
    return escape_formula(value) if isinstance(value, str) else value
