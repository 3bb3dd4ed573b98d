"""What is printed and written: the same rows as Markdown and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, field

Value = str | int | float | None
"""None where there is nothing to tell: no answer came, so there is no latency."""

Row = dict[str, Value]
"""One row of a table; the keys are the columns' headings, with their units."""


@dataclass
class Section:
    """A table with remarks that say how it was measured."""

    title: str
    rows: Sequence[Row]
    remarks: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        head = list(self.rows[0])
        lines = [head, ["---"] * len(head), *([_cell(row[column]) for column in head] for row in self.rows)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join([f"### {self.title}", table, *self.remarks])


def _cell(value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)
