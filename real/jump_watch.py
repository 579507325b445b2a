"""Whether measured joints jump: no arm moves so, thus names are confused, an encoder slips or a driver is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robolearn.real.fleeting import Fleeting

Array = NDArray[np.float64]
FASTER = 2.0  # times its limit that a joint may be measured to move: drivers' times are not exact


class JumpWatch:
    """Compares each measurement with the one before; written by one thread, read by another."""

    def __init__(self, names: Sequence[str], velocity: Sequence[float], *, bound: float) -> None:
        """Allow joints of these velocity limits, rad/s, to be `bound` rad further than they can have moved."""
        self._names, self._velocity, self._bound = tuple(names), FASTER * np.array(velocity), bound
        self._last: tuple[Array, float, float] | None = None  # position, stamp, received
        self._news = Fleeting()

    @property
    def size(self) -> int:
        """Number of joints."""
        return len(self._names)

    def take(self, position: Array, *, stamp: float, received: float) -> None:
        """Take measured joints [n] in rad, their stamp (s, 0 where it is not said) and monotonic receive time in s."""
        if self._last is not None:
            before, stamp_before, received_before = self._last
            elapsed = received - received_before
            if stamp and stamp_before:  # what came in a burst was measured apart
                elapsed = max(elapsed, stamp - stamp_before)
            beyond = np.abs(position - before) - self._velocity * max(elapsed, 0.0)
            worst = int(beyond.argmax())
            if beyond[worst] > self._bound:
                change = position[worst] - before[worst]
                told = f"joint '{self._names[worst]}' jumped by {change:+.2f} rad in {1e3 * elapsed:.0f} ms"
                self._news.tell(told, received)
        self._last = position, stamp, received

    def alarm(self, now: float) -> str:
        """See `Fleeting.take`."""
        return self._news.take(now)
