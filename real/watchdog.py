"""What must stop an arm without anybody asking: old data, late inference, a loop that stood still."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from robolearn.real.interfaces import Inference, Robot
from robolearn.real.state_machine import Event, State

Alarm = Callable[[float], str]  # from the time (monotonic, s) to why the arm must stop, or ""


class Watchdog:
    """Looks at robot, inference and time once per control period."""

    def __init__(
        self,
        *,
        robot: Robot,
        inference: Inference,
        stale_after: float,
        chunk_timeout: float,
        period: float,
        alarms: Sequence[Alarm] = (),
    ) -> None:
        """Watch.

        Args:
            robot: whose observations may grow old.
            inference: which may end.
            stale_after: age of an observation, and length of a gap between two periods, that is too much; s.
            chunk_timeout: s that the newest answer may be behind.
            period: s between two control periods.
            alarms: further reasons for a fault.
        """
        self._robot, self._inference, self._alarms = robot, inference, tuple(alarms)
        self._stale_after, self._chunk_timeout = stale_after, chunk_timeout
        self._longest = max(stale_after, 1.5 * period)
        self._answered = 0.0
        self._starved = False
        self._last: float | None = None

    def begin(self, now: float) -> None:
        """An activation begins at `now`, monotonic, s."""
        self._answered, self._starved = now, False

    def answered(self, step: float) -> None:
        """An answer has come for the control step that began at `step`, which says how old it is by now."""
        self._answered, self._starved = max(self._answered, step), False

    def gap(self, now: float) -> float:
        """Begin the period at `now`; return the time in s since the last one if it is too long, else 0."""
        gap = 0.0 if self._last is None else now - self._last
        self._last = now
        return gap if gap > self._longest else 0.0

    def alarm(self, now: float) -> str:
        """The first alarm's reason at `now`; "" if there is none."""
        reasons = [alarm(now) for alarm in self._alarms]  # all of them, so that none is told at another time
        return next(filter(None, reasons), "")

    def check(self, now: float, state: State, *, moving: bool) -> tuple[Event, str] | None:
        """What robot and inference give reason for in this state, and the reason."""
        age = self._robot.age()
        if state in (State.ACTIVE, State.HOLD) and not self._inference.alive:
            return Event.FAULT, "the inference process ended"
        if state in (State.ACTIVE, State.HOLD) and (reason := self.alarm(now)):
            return Event.FAULT, reason
        if age is None or not age <= self._stale_after:
            return Event.STALE, "no observation yet" if age is None else f"the observation is {age * 1e3:.0f} ms old"
        if state is State.ACTIVE and now - self._answered > self._chunk_timeout:
            self._starved = True
            return Event.STALE, f"no answer from inference for {now - self._answered:.2f} s"
        if state is State.INACTIVE:
            return Event.FRESH, "observing"
        if state is State.HOLD and not moving and not self._starved:
            return Event.FRESH, "the data are fresh again"
        return None
