"""Progress of a run on stderr: a bar at a terminal, else a line now and then."""

import sys
import time
from typing import TextIO

import pyarrow as pa
import pyarrow.compute

_AT_TERMINAL_S = 0.5
_ELSEWHERE_S = 30.0
_BAR = 20


class Progress:
    """Counts rows as they arrive. total: recordings of this run."""

    def __init__(self, total: int, stream: TextIO = sys.stderr) -> None:
        self.done = 0
        self.errors = 0
        self.audio_s = 0.0
        self._total = total
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._first: float | None = None
        self._before = 0
        self._started = self._shown = time.monotonic()

    def add(self, rows: pa.Table) -> None:
        """Count rows, and show how it goes if that was not done just now."""
        self.done += len(rows)
        self.errors += len(rows) - rows.column("error_type").null_count
        self.audio_s += pyarrow.compute.sum(rows.column("duration_s")).as_py() or 0.0
        now = time.monotonic()
        is_first = self._first is None
        if is_first:
            # Loading the model is no measure of what is to come.
            self._first, self._before = now, self.done
        if is_first or now - self._shown >= (_AT_TERMINAL_S if self._is_terminal else _ELSEWHERE_S):
            self._shown = now
            self._show()

    def close(self) -> None:
        """Show the last state."""
        self._show()
        if self._is_terminal:
            self._stream.write("\n")

    def line(self) -> str:
        """How it goes, in one line."""
        elapsed_s = max(time.monotonic() - self._started, 1e-3)
        per_s = self.done / elapsed_s
        parts = [
            f"{self.done:,} of {self._total:,} files",
            f"{per_s:.1f} files/s",
            f"{self.audio_s / 60 / elapsed_s:.2f} hours of audio a minute",
            f"{self.errors:,} errors",
        ]
        if self.done < self._total:
            parts.append(f"{_duration(self._left_s())} left")
        return ", ".join(parts)

    def _left_s(self) -> float | None:
        if self._first is None or self.done == self._before:
            return None
        return (self._total - self.done) * (time.monotonic() - self._first) / (self.done - self._before)

    def _show(self) -> None:
        if not self._is_terminal:
            self._stream.write(f"{self.line()}\n")
        else:
            full = _BAR * self.done // max(self._total, 1)
            self._stream.write(f"\r[{'#' * full}{' ' * (_BAR - full)}] {self.line()}\x1b[K")
        self._stream.flush()


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
