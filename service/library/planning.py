"""Decides which recordings of a source are still to be classified, given what an output holds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from service.library.output.parts import Known
from service.library.recordings.paths import is_local
from service.library.recordings.problems import PASSING, TOO_LARGE
from service.library.recordings.sources import Listed

Changed = Callable[[list[str]], set[str]]
"""Which of these paths have another content than the output says."""


@dataclass(frozen=True)
class Plan:
    """The work of a run. todo: paths to classify. again: the subset of `todo` that already has a row, which is removed
    when there are new ones. done: the number of all other recordings."""

    todo: list[str]
    again: set[str]
    done: int


def plan(
    listed: Iterable[Listed],
    known: dict[str, Known],
    max_bytes: int,
    *,
    retry_errors: bool = False,
    changed: Changed | None = None,
) -> Plan:
    """Everything that is missing, has changed since, or failed for a reason that may have passed.

    A recording has changed if its size or its time differs, as far as listing and row tell them, or by `changed`.
    max_bytes: of the largest file that is read now. retry_errors: do recordings again that failed for a lasting reason,
    too.
    """
    todo: list[str] = []
    again: set[str] = set()
    unsure: list[str] = []
    seen: set[str] = set()
    for recording in listed:
        path = recording.path
        if path in seen:
            continue
        seen.add(path)
        row = known.get(path)
        if row is None:
            todo.append(path)
        elif row.error_type and (retry_errors or _may_have_passed(recording, row, max_bytes)):
            again.add(path)
        elif changed:
            unsure.append(path)
        elif _differs(recording, row):
            again.add(path)
    if changed and unsure:
        again |= changed(unsure)
    return Plan(todo + sorted(again), again, len(seen) - len(todo) - len(again))


def _may_have_passed(recording: Listed, row: Known, max_bytes: int) -> bool:
    size = row.size if recording.size is None else recording.size
    fits_now = row.error_type == TOO_LARGE and size is not None and size <= max_bytes
    return fits_now or row.error_type in PASSING


def _differs(recording: Listed, row: Known) -> bool:
    # Some buckets list milliseconds and tell whole seconds of a recording that is read.
    unit_ns = 1 if is_local(recording.path) else 1_000_000_000
    return (None not in (recording.size, row.size) and recording.size != row.size) or (
        recording.mtime_ns is not None
        and row.mtime_ns is not None
        and recording.mtime_ns // unit_ns != row.mtime_ns // unit_ns
    )
