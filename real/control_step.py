"""One control step: the straight line in joint space along which the arm is sent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SLACK = 1e-6  # s: periods and steps that coincide must not miss each other by rounding


@dataclass
class ControlStep:
    """One control step.

    Attributes:
        number: k.
        begin: T_k, monotonic, s.
        observed: when its observation was made, likewise.
        start: position sent at T_k; reference of the command and start of the line.
        measured: joints and width as observed.
        goal: where to be at T_k+1; without an action the previous goal, approached at once.
        action: that set the goal, if one did, so that there is a line to follow.
        answered: whether its own answer set the goal.
        sent: whether a command has used that answer.
        person: whether that answer is a person's.
        chunk: which chunk its action is from; see `robolearn.real.messages.Answer`.
    """

    number: int
    begin: float
    observed: float
    start: Array
    measured: Array
    goal: Array
    action: NDArray[np.float32] | None = None
    answered: bool = False
    sent: bool = False
    person: bool = False
    chunk: int = -1

    def target(self, when: float, dt: float) -> tuple[Array, Array]:
        """Target and its velocity at time `when` for a control step of `dt` s; the width is a set-point."""
        share = (when - self.begin) / dt
        if self.action is None or share > 1.0 + SLACK / dt:
            return self.goal, np.zeros_like(self.goal)
        rate = (self.goal - self.start) / dt
        rate[-1] = 0.0
        target = self.start + rate * (when - self.begin)
        target[-1] = self.goal[-1]
        return target, rate
