"""Speeds measured side by side: each contender works for a while in turn, round after round."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from robolearn.eval.results import Measure

Turn = Callable[[float], float]  # s to work at least -> units of work per second


def turn(work: Callable[[], int], *, prepare: Callable[[], object] | None = None) -> Turn:
    """A contender that works piece by piece.

    Args:
        work: does a piece and returns its units, e.g. control steps.
        prepare: what comes before each piece and does not count.
    """

    def measure(seconds: float) -> float:
        units, spent = 0, 0.0
        while spent < seconds:
            if prepare is not None:
                prepare()
            start = time.perf_counter()
            units += work()
            spent += time.perf_counter() - start
        return units / spent

    return measure


def in_turns(
    turns: Mapping[str, Turn], *, rounds: int, seconds: float, progress: Callable[[str], None]
) -> dict[str, list[float]]:
    """Rates [rounds] of each contender by its name, after a first piece that does not count.

    A machine's speed drifts over minutes; within a round it is about the same for all.
    """
    for name, measure in turns.items():
        progress(f"warming up: {name}")
        measure(1e-9)
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for i in range(rounds):
        for name, measure in turns.items():
            rates[name].append(measure(seconds))
        progress(f"round {i + 1}/{rounds}: " + ", ".join(f"{name} {r[-1]:,.0f}/s" for name, r in rates.items()))
    return rates


def rate(measure_id: str, rates: Sequence[float], baseline: Sequence[float] | None = None) -> Measure:
    """Median over the rounds, with their range as interval; the baseline's median beside it."""
    against = None if baseline is None else median(baseline)
    return Measure(measure_id, median(rates), "1/s", against, (min(rates), max(rates)))


def ratio(measure_id: str, rates: Sequence[float], others: Sequence[float]) -> Measure:
    """Median of the ratios within each round, with their range as interval."""
    ratios = [a / b for a, b in zip(rates, others, strict=True)]
    return Measure(measure_id, median(ratios), "1", None, (min(ratios), max(ratios)))
