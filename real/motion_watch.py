"""Whether the arm does what it is told: positions that stand still, lag far behind, or commands that are refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robolearn.safety_settings import SafetySettings

Array = NDArray[np.float64]


class MotionWatch:
    """Compares commands with measured positions at every control step, and counts refusals in every period."""

    def __init__(self, safety: SafetySettings, *, names: Sequence[str], period: float) -> None:
        """Watch the joints `names`; `period` in s is the time between commands."""
        self._safety, self._names = safety, tuple(names)
        self._refused = np.zeros(max(1, round(safety.rejected_window / period)), bool)
        self.begin()

    def begin(self) -> None:
        """An activation begins."""
        self._seen: Array | None = None  # measured positions, since when, and the command then
        self._since = self._moved = 0.0
        self._from: Array = np.zeros(0)
        self._refused[:] = False
        self._periods = 0

    def step(self, now: float, command: Array, measured: Array) -> str:
        """Why the arm must not go on at a control step, by command and measured joints [n_joints]; "" if it may."""
        off = np.abs(command - measured)
        worst = int(off.argmax())
        if off[worst] > self._safety.tracking_error:
            return (
                f"joint '{self._names[worst]}' is {off[worst]:.2f} rad from its command "
                f"(allowed {self._safety.tracking_error:g})"
            )
        return self._frozen(now, command, measured)

    def period(self, *, refused: bool) -> str:
        """Why the arm must not go on after a command that was refused or not; "" if it may."""
        self._refused[self._periods % len(self._refused)] = refused
        self._periods += 1
        if not refused:
            return ""
        count = int(self._refused.sum())
        if count <= self._safety.rejected_share * len(self._refused):
            return ""
        return f"{count} commands were refused in {self._safety.rejected_window:g} s: not finite, or beyond the limits"

    def _frozen(self, now: float, command: Array, measured: Array) -> str:
        if self._seen is None or not np.array_equal(measured, self._seen):
            self._seen, self._since, self._from, self._moved = measured, now, command, 0.0
            return ""
        self._moved = max(self._moved, float(np.abs(command - self._from).max()))
        if now - self._since <= self._safety.frozen_after or self._moved <= self._safety.frozen_motion:
            return ""
        return (
            f"the joint states have not changed for {now - self._since:.2f} s while commands moved by "
            f"{self._moved:.2f} rad"
        )
