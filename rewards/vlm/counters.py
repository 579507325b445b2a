"""What became of the questions."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass

import numpy as np

RECENT = 4096  # latencies that percentiles are of


@dataclass(frozen=True)
class Counters:
    """Counts since the start; asked = answered + failed + replaced + stale + what is still under way.

    Attributes:
        asked: frames to be judged.
        answered: judgements that came while their episode ran, and after no later one.
        failed: judgements given up; what was judged before holds.
        replaced: frames that were never judged, because a later one of the same world came before their turn.
        stale: frames whose episode ended first, and judgements after later ones.
        malformed: answers that were not as asked for, those to repeated questions included.
        cached: answers that were on file.
        latency_p50: median of the s from asking to a judgement, or to giving it up, over recent ones; NaN without any.
        latency_p99: their 99th percentile.
    """

    asked: int
    answered: int
    failed: int
    replaced: int
    stale: int
    malformed: int
    cached: int
    latency_p50: float
    latency_p99: float


class Tally:
    """Counts in several threads."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._counts: Counter[str] = Counter()
        self._latencies: deque[float] = deque(maxlen=RECENT)
        self._lock = threading.Lock()

    def add(self, name: str, n: int = 1) -> None:
        """Count `n` more of a count of `Counters`."""
        with self._lock:
            self._counts[name] += n

    def took(self, seconds: float) -> None:
        """Note the latency of a judgement."""
        with self._lock:
            self._latencies.append(seconds)

    def snapshot(self) -> Counters:
        """Return the counts of this moment."""
        with self._lock:
            latencies, counts = list(self._latencies), self._counts.copy()
        p50, p99 = np.percentile(latencies or [np.nan], (50, 99)).tolist()
        names = ("asked", "answered", "failed", "replaced", "stale", "malformed", "cached")
        return Counters(**{name: counts[name] for name in names}, latency_p50=p50, latency_p99=p99)
