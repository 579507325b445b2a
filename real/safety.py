"""The last thing before the arm: whatever is asked, commands stay finite and within the robot's limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.robot import RobotSpec

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """Limits of each command component (joints in rad, then gripper width in m) and the control period.

    Attributes:
        lower, upper: positions.
        velocity: per s.
        acceleration: per s^2.
        period: s between commands.
    """

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    period: float

    def __post_init__(self) -> None:
        bounds = np.stack((self.lower, self.upper, self.velocity, self.acceleration))
        if not np.isfinite(bounds).all() or not np.isfinite(self.period):
            raise UserError("safety limits must be finite numbers: mend the robot's limits")
        if (self.lower >= self.upper).any() or (bounds[2:] <= 0).any() or self.period <= 0:
            raise UserError("safety limits need lower < upper and positive velocity, acceleration and period")

    @classmethod
    def of(cls, robot: RobotSpec, *, period: float) -> Limits:
        """Limits of a robot; the gripper may change between full speeds within one period."""
        velocity = np.array((*robot.max_velocity, robot.gripper_speed))
        return cls(
            lower=np.array((*robot.lower, 0.0)),
            upper=np.array((*robot.upper, robot.gripper_width)),
            velocity=velocity,
            acceleration=np.array((*robot.max_acceleration, 2 * robot.gripper_speed / period)),
            period=period,
        )


def largest_stoppable(distance: Array, acceleration: Array, period: float) -> Array:
    """Largest speed at which a step of one period and a full stop after it fit into `distance` >= 0.

    Braking in discrete time from v covers dt (v + (v - a dt) + (v - 2 a dt) + ...). With n such terms after
    the first, distance = dt ((n + 1) v - a dt n (n + 1) / 2); n is the largest with all terms positive.
    """
    unit = acceleration * period**2
    n = np.floor((np.sqrt(1.0 + 8.0 * distance / unit) - 1.0) / 2.0)
    return (distance + unit * n * (n + 1.0) / 2.0) / ((n + 1.0) * period)


class SafetyFilter:
    """Follows a stream of targets within limits.

    In this order: finite check, joint positions, velocity, acceleration. The position check includes the way to
    a stop, so that the acceleration limit can never push a joint past its end. In steady motion the output equals
    the target; after a jump it approaches as fast as the limits allow and stops without overshoot. A joint that begins
    outside its limits never gets further out, and comes in at the speed of any other motion.
    """

    def __init__(self, limits: Limits) -> None:
        """Start without a position; call `reset` first."""
        self.limits = limits
        self.rejected = 0  # targets that were not finite
        self.limited = 0  # targets that could not be followed exactly
        n = len(limits.lower)
        self.position: Array = np.zeros(n)
        self.velocity: Array = np.zeros(n)
        self._target: Array = self.position

    def reset(self, position: Array) -> None:
        """Stand still at `position` [n], be it outside the limits.

        Raises:
            ValueError: it is not finite.
        """
        if not np.isfinite(position).all():
            raise ValueError(f"commands cannot begin at {position}, which is not finite")
        self.position = np.array(position, np.float64)
        self.velocity = np.zeros_like(self.position)
        self._target = self.position

    @property
    def at_rest(self) -> bool:
        """Whether the last command was equal to the one before."""
        return not self.velocity.any()

    def follow(self, target: NDArray[Any]) -> Array:
        """Return the command [n] of this period that comes nearest to `target` [n]; brakes if it is not finite."""
        limits, dt = self.limits, self.limits.period
        if not np.isfinite(target).all():
            self.rejected += 1
            return self.brake()
        target = np.clip(target, limits.lower, limits.upper)
        drift = np.clip((target - self._target) / dt, -limits.velocity, limits.velocity)
        # as in braking, but relative to the moving target: arrive with the target's own velocity
        gap = target - self.position - drift * dt
        approach = np.sign(gap) * largest_stoppable(np.abs(gap), limits.acceleration, dt)
        self._target = target
        self._move(drift + approach)
        self.limited += bool((np.abs(self.position - target) > 1e-9).any())
        return self.position

    def brake(self) -> Array:
        """Return the command of this period on the way to a full stop."""
        self._target = self.position
        self._move(np.zeros_like(self.velocity))
        return self.position

    def _move(self, wanted: Array) -> None:
        limits, dt = self.limits, self.limits.period
        up = largest_stoppable(np.maximum(limits.upper - self.position, 0.0), limits.acceleration, dt)
        down = largest_stoppable(np.maximum(self.position - limits.lower, 0.0), limits.acceleration, dt)
        wanted = np.clip(wanted, -np.minimum(down, limits.velocity), np.minimum(up, limits.velocity))
        change = limits.acceleration * dt
        velocity = np.clip(wanted, self.velocity - change, self.velocity + change)
        lower, upper = np.minimum(limits.lower, self.position), np.maximum(limits.upper, self.position)
        position = np.clip(self.position + velocity * dt, lower, upper)
        self.position, self.velocity = position, velocity
