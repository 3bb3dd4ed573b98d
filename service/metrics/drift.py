"""How far a distribution has moved from a reference: the population stability index, and what chance makes of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Of the normal distribution: chance exceeds it once in a hundred times.
_Z_99 = 2.3263

# Added to each count, as a bin without a sample would make the index infinite.
_PRIOR = 0.5


@dataclass(frozen=True)
class Drift:
    """psi: the population stability index. Usual reading: below 0.1 alike, above 0.25 another population.

    by_chance: what samples of these sizes exceed once in a hundred times although nothing has changed.
    """

    psi: float
    by_chance: float


def drift(counts: Sequence[int], reference: Sequence[float], clips: int) -> Drift:
    """Compare a sample, by bins, with the shares that `clips` clips of reference have in the same bins.

    Bins that are empty on both sides do not count. PSI is the sum of (p - q) ln(p / q); without drift it is near
    (1/n + 1/m) times a chi-squared variable with bins - 1 degrees of freedom (Yurdakul and Naranjo 2020,
    doi:10.21314/JRMV.2020.227), whose quantile is approximated as Wilson and Hilferty did (1931).
    """
    expected = [share * clips for share in reference]
    bins = [(count, other) for count, other in zip(counts, expected, strict=True) if count or other]
    sample = _shares([count for count, _ in bins])
    base = _shares([other for _, other in bins])
    psi = sum((p - q) * math.log(p / q) for p, q in zip(sample, base, strict=True))
    return Drift(psi, _chi_squared_99(len(bins) - 1) * (1 / sum(counts) + 1 / clips))


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts) + _PRIOR * len(counts)
    return [(count + _PRIOR) / total for count in counts]


def _chi_squared_99(freedom: int) -> float:
    """The 99th percentile of the chi-squared distribution."""
    if freedom == 0:
        return 0.0
    spread = 2 / (9 * freedom)
    return freedom * float(1 - spread + _Z_99 * math.sqrt(spread)) ** 3
