"""How good estimates of progress are; NumPy alone.

A clock scores a perfect rank correlation on successes, so these only mean something beside the controls of
`robolearn.rewards.controls`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Ints = NDArray[np.integer]
TIE = 0.01  # smaller changes of progress are taken for none, for every estimator alike


def spearman(a: Array, b: Array) -> float:
    """Return the rank correlation of two series [n]; 0 where one of them is constant. Ties share their mean rank."""
    return _correlation(_ranks(a), _ranks(b))


def value_order_correlation(progress: Array) -> float:
    """Return the rank correlation of progress [T] with time (VOC, Ma et al. 2024, GVL).

    Progress is rounded to `TIE` before, and has no order where it moves by less than that in all: what does not change
    has none, whatever its last digits say.
    """
    if np.ptp(progress) < TIE:
        return 0.0
    return spearman(np.round(progress / TIE), np.arange(len(progress), dtype=np.float64))


def auroc(scores: Array, truth: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve: how often a positive's score [n] is above a negative's; NaN if one lacks.

    Ties count half (Mann and Whitney 1947).
    """
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    return float((_ranks(scores)[truth].sum() - positives * (positives - 1) / 2) / (positives * negatives))


def calibration_error(probability: Array, truth: NDArray[np.bool_], *, bins: int = 10) -> float:
    """Return the expected calibration error: mean distance of probability [n] and frequency over bins of equal width.

    Source: Guo et al. 2017, equation 3.
    """
    place = np.minimum((probability * bins).astype(int), bins - 1)
    error = 0.0
    for k in np.unique(place):
        here = place == k
        error += here.mean() * abs(float(probability[here].mean()) - float(truth[here].mean()))
    return float(error)


def first(mask: NDArray[np.bool_]) -> int | None:
    """Return the first place at which a mask [T] holds."""
    return int(mask.argmax()) if mask.any() else None


def false_done(done: NDArray[np.bool_], truth: NDArray[np.bool_], *, early: int = 2) -> bool:
    """Return whether an episode was called done [T] at a frame where it was not; `early` frames before are forgiven."""
    soon = np.convolve(truth, np.ones(early + 1), mode="full")[early:] > 0 if early else truth
    return bool((done & ~soon).any())


def done_latency(done: NDArray[np.bool_], truth: NDArray[np.bool_]) -> int | None:
    """Return by how many frames "done" came after the fact; None where the task was not done, or never called so."""
    since = first(truth)
    if since is None:
        return None
    said = first(done[since:])
    return said


def threshold_for(scores: Sequence[Array], truths: Sequence[NDArray[np.bool_]], *, false_rate: float) -> float:
    """Return the lowest threshold at which at most a share of validation episodes is called done falsely.

    Args:
        scores: probability of success [T] of each episode.
        truths: whether the task was done [T].
        false_rate: share of episodes.
    """
    grid = np.linspace(0.05, 0.99, 95)
    for threshold in grid:
        false = np.mean([false_done(s >= threshold, t) for s, t in zip(scores, truths, strict=True)])
        if false <= false_rate:
            return float(threshold)
    return float(grid[-1])


def bootstrap(
    values: Sequence[float], *, statistic: Callable[[Array], float] = np.mean, draws: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Return a statistic of values and its 95 % bootstrap interval (Efron 1979); values that are NaN are left out."""
    kept = np.array([value for value in values if np.isfinite(value)])
    if not len(kept):
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    sampled = [statistic(kept[rng.integers(len(kept), size=len(kept))]) for _ in range(draws)]
    low, high = np.percentile(sampled, (2.5, 97.5))
    return float(statistic(kept)), float(low), float(high)


def _correlation(a: Array, b: Array) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0


def _ranks(values: Array) -> NDArray[np.float64]:
    """Ranks [n] from 0 on; ties get their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return (last - (counts - 1) / 2)[place]
