"""Success rates with intervals, comparisons on the same seeds, percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from robolearn.errors import UserError


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson, 1927): holds its level at rates near 0 and 1 and for small n.

    With z the normal quantile of the confidence and p = successes / n:
    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    Raises:
        UserError: no episodes.
        ValueError: successes outside [0, n], or confidence outside (0, 1).
    """
    if n < 1:
        raise UserError("a success rate needs at least one episode: raise the number of episodes")
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} episodes")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = successes + z2 / 2
    half = sqrt(z2 * (successes * (n - successes) / n + z2 / 4))
    # at the ends the interval touches 0 and 1 exactly; rounding must not push it past them
    low = 0.0 if successes == 0 else (centre - half) / (n + z2)
    high = 1.0 if successes == n else (centre + half) / (n + z2)
    return low, high


@dataclass(frozen=True)
class SuccessRate:
    """Successes out of episodes."""

    successes: int
    episodes: int

    def __post_init__(self) -> None:
        wilson_interval(self.successes, self.episodes)

    @classmethod
    def of(cls, outcomes: ArrayLike) -> SuccessRate:
        """Count the outcomes [n] (bool) of n episodes."""
        values = np.asarray(outcomes, dtype=bool)
        return cls(int(values.sum()), values.size)

    @property
    def rate(self) -> float:
        """Share of successes in [0, 1]."""
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval."""
        return wilson_interval(self.successes, self.episodes)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.successes}/{self.episodes} = {self.rate:.2f} [{low:.2f}, {high:.2f}]"


@dataclass(frozen=True)
class PairedComparison:
    """Two policies on the same seeds.

    Attributes:
        episodes: number of seeds.
        only_first: seeds on which only the first succeeded.
        only_second: seeds on which only the second succeeded.
        p_value: two-sided exact McNemar test of equal success (McNemar, 1947).
    """

    episodes: int
    only_first: int
    only_second: int
    p_value: float

    @property
    def difference(self) -> float:
        """Success rate of the second minus that of the first."""
        return (self.only_second - self.only_first) / self.episodes

    def __str__(self) -> str:
        return (
            f"{self.difference:+.2f} on {self.episodes} shared seeds "
            f"({self.only_second} gained, {self.only_first} lost; p = {self.p_value:.2g})"
        )


def compare_paired(first: ArrayLike, second: ArrayLike) -> PairedComparison:
    """Compare outcomes [n] (bool) of two policies, episode i of both from the same seed.

    Only the seeds on which they differ tell them apart; under equal success each of those falls to either side with
    probability one half, so the p value is twice the binomial tail, at most 1.

    Raises:
        UserError: no episodes.
        ValueError: unequal lengths.
    """
    a, b = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"outcomes of shapes {a.shape} and {b.shape} are no pairs")
    if a.size == 0:
        raise UserError("a comparison needs at least one episode: raise the number of episodes")
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    differ = only_first + only_second
    tail = sum(comb(differ, k) for k in range(min(only_first, only_second) + 1))
    return PairedComparison(a.size, only_first, only_second, min(1.0, 2 * tail / 2**differ))


def percentiles(values: ArrayLike, levels: Sequence[float] = (50, 99)) -> dict[str, float]:
    """Percentiles by linear interpolation, as {"p50": ..., "p99": ...}.

    Raises:
        ValueError: no values, or values that are not finite.
    """
    data = np.asarray(values, dtype=float).ravel()
    if data.size == 0 or not np.isfinite(data).all():
        raise ValueError("percentiles need at least one value, all of them finite")
    return {f"p{level:g}": float(np.percentile(data, level)) for level in levels}
