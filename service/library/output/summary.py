"""Summarises an output by genre, error and slowest files; and writes it as CSV for people."""

import csv
import heapq
from collections import Counter
from pathlib import Path

import pyarrow.compute

from service.library.output.parts import Parts
from service.spreadsheets import escape_formula

CSV_NAME = "_results.csv"
_SLOWEST = 10
_COLUMNS = ["path", "genre", "decision", "confidence", "error_type", "duration_s", "seconds"]
_CSV = ["path", "genre", "confidence", "decision", "duration_s", "warnings", "error_type", "error_detail"]


def summarise(parts: Parts) -> str:
    """The tables of an output, as text."""
    genres: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    slowest: list[tuple[float, str]] = []
    audio_s = seconds = 0.0
    for table in parts.rows(_COLUMNS):
        audio_s += pyarrow.compute.sum(table.column("duration_s")).as_py() or 0.0
        seconds += pyarrow.compute.sum(table.column("seconds")).as_py() or 0.0
        for row in table.select(["path", "genre", "decision", "error_type", "seconds"]).to_pylist():
            if row["error_type"]:
                errors[row["error_type"]] += 1
            else:
                genres[row["genre"]] += 1
                accepted[row["genre"]] += row["decision"] == "accepted"
            slowest.append((row["seconds"], row["path"]))
        slowest = heapq.nlargest(_SLOWEST, slowest)
    total = genres.total() + errors.total()
    lines = [f"{total:,} recordings, {audio_s / 3600:,.1f} hours of audio, {errors.total():,} errors", ""]
    lines += _table(
        "<>>>",
        ("genre", "recordings", "share", "accepted"),
        [(g, f"{n:,}", f"{n / genres.total():.1%}", f"{accepted[g]:,}") for g, n in genres.most_common()],
    )
    lines += _table("<>", ("error", "recordings"), [(name, f"{count:,}") for name, count in errors.most_common()])
    lines += _table("><", ("seconds", "slowest recordings"), [(f"{taken:.2f}", path) for taken, path in slowest])
    return "\n".join(lines).rstrip() + "\n"


def write_csv(parts: Parts) -> Path:
    """Write the columns that people read, under a name that readers of the folder pass over."""
    with parts.whole(CSV_NAME) as unfinished, unfinished.open("w", encoding="utf-8-sig", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(_CSV)
        for table in parts.rows(_CSV):
            rows.writerows([_cell(row[name]) for name in _CSV] for row in table.to_pylist())
    return parts.folder / CSV_NAME


def _cell(value: object) -> object:
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, float):
        return round(value, 4)
    return escape_formula(value) if isinstance(value, str) else value


def _table(align: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Rows in columns. align: `<` or `>` of each column."""
    if not rows:
        return []
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    return [
        *(
            "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, align, widths, strict=True)).rstrip()
            for row in (head, *rows)
        ),
        "",
    ]
