"""The newest message of a driver and how old it is, by our own clock and by its stamp, as far as that is believed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from robolearn.real.clock_watch import ClockWatch

CLOCKS_AGREE = 1.0  # s: a first stamp outside this is from a machine whose clock is not ours


class _Kept[T](NamedTuple):
    value: T
    stamp: float
    made: float  # monotonic, s


class Newest[T]:
    """Keeps one message; written by one thread, read by another.

    A stamp of 0 says nothing. Another must be later than the last one, else the driver repeats itself and the message
    does not count; a stamp that lies far behind is of a driver that began anew. Once stamps have agreed with our clock,
    all that they say of delays is believed.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._clocks: tuple[ClockWatch, ...] = ()
        self._kept: _Kept[T] | None = None
        self._agrees = False

    def take(self, value: T, *, stamp: float, received: float, wall: float) -> None:
        """Keep a message, if it is new.

        Args:
            value: what it says.
            stamp: when it was made by the driver's clock; s, 0 where that is not said.
            received: monotonic, s.
            wall: what our clock said then, s.
        """
        for clock, said in zip(self._clocks, (stamp, wall), strict=False):  # nobody may watch
            clock.take(said, received)
        last = 0.0 if self._kept is None else self._kept.stamp
        if stamp and last - CLOCKS_AGREE <= stamp <= last:
            return
        delay = wall - stamp if stamp else 0.0
        self._agrees |= bool(stamp) and abs(delay) < CLOCKS_AGREE
        self._kept = _Kept(value, stamp, received - max(delay, 0.0) * self._agrees)

    @property
    def value(self) -> T | None:
        """What the newest message says, or None before the first."""
        return None if self._kept is None else self._kept.value

    def watch_clocks(self, bound: float) -> Callable[[float], str]:
        """From now on look whether the driver's clock or ours jumps by more than `bound` s; ask what comes back."""
        # what our own clock says comes without delay
        clocks = ClockWatch("the driver's", bound=bound), ClockWatch("our", bound=bound, warm_up=0.0)
        self._clocks = clocks
        return lambda now: next(filter(None, [clock.alarm(now) for clock in clocks]), "")

    def age(self, now: float) -> float | None:
        """Seconds since it was made, as far as that is known, else received; None before the first."""
        return None if self._kept is None else now - self._kept.made
