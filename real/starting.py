"""Where commands begin: whether the arm may start from where it is, and the first position that it is sent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robolearn.real.safety import Limits

Array = NDArray[np.float64]
OUTSIDE = 0.05  # rad that a measured joint may be outside its limits at the start
OUTSIDE_WIDTH = 0.01  # m, likewise
NEAR = 0.02  # rad that an arm sags below its command or lags behind it
NEAR_WIDTH = 0.005  # m, likewise
SETTLING = 1.0  # s after the last command in which an arm that lags may still be on its way there
DISPLACED = 0.15  # rad between command and arm after a hold: somebody moved it, do not go on by itself


def refusal(measured: Array, limits: Limits, names: Sequence[str]) -> str:
    """Why the arm may not start at a measured pose [n_joints + 1]; "" if it may."""
    if reason := not_finite(measured, names):
        return reason
    margin = np.full(len(measured), OUTSIDE)
    margin[-1] = OUTSIDE_WIDTH
    for i in np.flatnonzero((measured < limits.lower - margin) | (measured > limits.upper + margin)):
        if i == len(measured) - 1:
            return f"the gripper is at {measured[i]:.3f} m, outside its limits: see what its driver publishes"
        return f"joint '{names[i]}' is at {measured[i]:.3f} rad, outside its limits: move the arm back first"
    return ""


def moved(measured: Array, last: Array, names: Sequence[str]) -> str:
    """Why the arm may not go on by itself after the command `last` [n_joints + 1]; "" if it may."""
    if reason := not_finite(measured, names):
        return reason
    off = np.abs(measured - last)[:-1]
    worst = int(off.argmax())
    return f"joint '{names[worst]}' moved by {off[worst]:.2f} rad in the hold" if off[worst] > DISPLACED else ""


def not_finite(measured: Array, names: Sequence[str]) -> str:
    """Name the first component of a measured pose that is not a finite number; "" where there is none."""
    for i in np.flatnonzero(~np.isfinite(measured)):
        return f"the measured position of '{names[i]}' is not a finite number: see what its driver publishes"
    return ""


def elsewhere(measured: Array, last: Array, bound: float) -> bool:
    """Whether a joint is further than `bound` rad from the last command [n_joints + 1]."""
    return bool((np.abs(measured - last)[:-1] > bound).any())


def first_command(measured: Array, last: Array | None, *, near: float = NEAR) -> Array:
    """Where commands begin [n_joints + 1]: the last one where the arm still is there, else the measured pose.

    A measured pose sags and lags, by `near` rad at most, so that beginning there would set an arm back that nobody has
    moved. All joints count together: an arm that is elsewhere has nothing to do with its last command.
    """
    if last is None or elsewhere(measured, last, near):
        return measured.copy()
    command = last.copy()
    if abs(measured[-1] - last[-1]) > NEAR_WIDTH:  # somebody may have opened it
        command[-1] = measured[-1]
    return command


def eased(start: Array, goal: Array, *, elapsed: float, ramp: float) -> Array:
    """Goal of a control step [n_joints + 1] that begins at `start`, `elapsed` s after commands began.

    For `ramp` s only a part of each step is made, 3 s^2 - 2 s^3 of it at the share s of that time, so that the arm
    leaves the measured pose slowly and gathers way smoothly, whatever the policy wants at first. The gripper likewise.
    """
    if elapsed >= ramp:
        return goal
    share = elapsed / ramp
    return start + share**2 * (3.0 - 2.0 * share) * (goal - start)


def next_command(measured: Array, last: Array, *, settled: bool) -> Array:
    """Where commands go on after a hold, likewise; the gripper keeps its set-point, and with it what it holds.

    An arm that has not `settled` may still lag behind its last command by much.
    """
    command = first_command(measured, last, near=NEAR if settled else DISPLACED)
    command[-1] = last[-1]
    return command
