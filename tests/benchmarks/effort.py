"""How long to measure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Counts and seconds of every section.

    A load of `load_s` seconds takes longer: what is under way at its end is waited for.
    """

    clip_rounds: int
    clients: tuple[int, ...]
    load_rounds: int
    load_s: float
    probe_s: float
    starts: int
    lengths_s: tuple[float, ...]
    timeline_s: float
    length_rounds: int


FULL = Effort(
    clip_rounds=11,
    clients=(1, 2, 8, 32),
    load_rounds=3,
    load_s=6,
    probe_s=20,
    starts=3,
    lengths_s=(5, 30, 180, 1_800, 7_200),
    timeline_s=1_800,
    length_rounds=3,
)

QUICK = Effort(
    clip_rounds=2,
    clients=(1, 8),
    load_rounds=1,
    load_s=4,
    probe_s=4,
    starts=1,
    lengths_s=(5, 30, 180, 1_800),
    timeline_s=180,
    length_rounds=1,
)
