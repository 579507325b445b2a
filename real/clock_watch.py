"""Whether a clock jumps: then ages by stamps mean nothing."""

from __future__ import annotations

import math

from robolearn.real.fleeting import Fleeting

WARM_UP = 1.0  # s
MEMORY = 10.0  # s after which it is forgotten how early messages came: clocks drift


class ClockWatch:
    """Compares times with the monotonic time at which they came; written by one thread, read by another.

    A delay lets a message come late, never early. So stamps that are ahead of the earliest ones by more than a bound
    have jumped forwards, and stamps that go back by more than that have jumped backwards; a delay is neither.
    """

    def __init__(self, whose: str, *, bound: float, warm_up: float = WARM_UP) -> None:
        """Allow jumps of `bound` s; `whose` clock it is goes into the reason.

        For `warm_up` s after the first message no jump forwards is told: the first ones may all have been late.
        """
        self._whose, self._bound, self._warm_up = whose, bound, warm_up
        self._last: float | None = None  # stamp
        # stamp minus receive time of the earliest messages, in the present and in the last stretch of MEMORY
        self._ahead = self._ahead_before = -math.inf
        self._turn = 0.0
        self._first: float | None = None  # receive time
        self._news = Fleeting()

    def take(self, stamp: float, received: float) -> None:
        """Take a message's stamp and monotonic receive time, s; a stamp of 0 says nothing."""
        if not stamp:
            return
        ahead, best = stamp - received, max(self._ahead, self._ahead_before)
        back = 0.0 if self._last is None else self._last - stamp
        self._first = received if self._first is None else self._first
        known = math.isfinite(best) and received - self._first >= self._warm_up
        if back > self._bound or (known and ahead - best > self._bound):
            jump = -back if back > self._bound else ahead - best
            self._news.tell(f"{self._whose} clock jumped by {jump:+.2f} s", received)
            self._ahead = self._ahead_before = -math.inf
        if received - self._turn > MEMORY:
            self._ahead_before, self._ahead, self._turn = self._ahead, -math.inf, received
        self._ahead, self._last = max(self._ahead, ahead), stamp

    def alarm(self, now: float) -> str:
        """See `Fleeting.take`."""
        return self._news.take(now)
