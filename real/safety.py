"""The last thing before the arm: whatever is asked, commands stay finite and within the robot's limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.real import stopping
from robolearn.real.collision import CollisionCheck
from robolearn.real.workspace import Workspace
from robolearn.robot import RobotSpec

Array = NDArray[np.float64]
SAME = 1e-9  # rad (m) between a command and its target that are the same


@dataclass(frozen=True)
class Limits:
    """Limits of each command component (joints in rad, then gripper width in m) and the control period.

    Attributes:
        lower, upper: positions.
        velocity: per s.
        acceleration: per s^2.
        jerk: per s^3.
        period: s between commands.
    """

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    jerk: Array
    period: float

    def __post_init__(self) -> None:
        bounds = np.stack((self.lower, self.upper, self.velocity, self.acceleration, self.jerk))
        if not np.isfinite(bounds).all() or not np.isfinite(self.period):
            raise UserError("safety limits must be finite numbers: mend the robot's limits")
        if (self.lower >= self.upper).any() or (bounds[2:] <= 0).any() or self.period <= 0:
            raise UserError("safety limits need lower < upper and positive velocity, acceleration, jerk and period")

    @classmethod
    def of(cls, robot: RobotSpec, *, period: float) -> Limits:
        """Limits of a robot; the gripper may change between full speeds within one period."""
        velocity = np.array((*robot.max_velocity, robot.gripper_speed))
        turn = 2 * robot.gripper_speed / period
        return cls(
            lower=np.array((*robot.lower, 0.0)),
            upper=np.array((*robot.upper, robot.gripper_width)),
            velocity=velocity,
            acceleration=np.array((*robot.max_acceleration, turn)),
            jerk=np.array((*robot.jerk_limits, 2 * turn / period)),
            period=period,
        )


class SafetyFilter:
    """Follows a stream of targets within limits.

    In this order: finite check, joint positions, velocity, acceleration, jerk, then the tool's box and collisions: they
    only ever choose between this command and braking, which is always the last word. Every command is one from which
    braking stays within all of them, so that none can make another one impossible; see `robolearn.real.stopping`. A
    motion within limits passes unchanged; after a jump it approaches as fast as the limits allow. A joint that begins
    outside its limits never gets further out than there, and comes in at the speed of any other motion.

    Attributes:
        limits: of each component.
        box: that the tool stays in, or None.
        collisions: what must not meet, or None.
        danger: what would have met, had the arm not braked; "" if nothing.
        rejected: targets that were not finite.
        refused: targets that were not finite, beyond the limits of position, outside the box, or dangerous.
        limited: targets that could not be followed exactly, for whatever reason.
    """

    def __init__(
        self, limits: Limits, *, box: Workspace | None = None, collisions: CollisionCheck | None = None
    ) -> None:
        """Start without a position; call `reset` first."""
        self.limits, self.box, self.collisions = limits, box, collisions
        self.danger = ""
        self.rejected = self.refused = self.limited = 0
        dt, n = limits.period, len(limits.lower)
        self._ends = np.stack((limits.lower, limits.upper))
        scaled = (limits.velocity * dt, limits.acceleration * dt**2, limits.jerk * dt**3)
        self._bounds: Array = np.stack((limits.lower, limits.upper, *scaled))
        self._state: Array = np.zeros((3, n))  # per period
        self._next: Array = np.zeros((3, n))
        self._brakes: Array = self._bounds[3].copy()  # acceleration of braking from here
        self._rest: Array = np.zeros(n)
        self._target: Array = np.zeros(n)

    def count_anew(self) -> None:
        """Begin to count what is rejected, refused and limited."""
        self.rejected = self.refused = self.limited = 0

    @property
    def position(self) -> Array:
        """The last command [n]."""
        return self._state[0]

    @property
    def velocity(self) -> Array:
        """Its velocity [n] per s."""
        return self._state[1] / self.limits.period

    @property
    def rest(self) -> Array:
        """Where the arm is [n] after braking from here."""
        return self._rest

    def reset(self, position: Array) -> None:
        """Stand still at `position` [n], be it outside the limits.

        Raises:
            ValueError: it is not finite.
        """
        if not np.isfinite(position).all():
            raise ValueError(f"commands cannot begin at {position}, which is not finite")
        self._state = np.zeros_like(self._state)
        self._state[0] = self._target = position
        self._rest = self.position
        self._bounds[0] = np.minimum(self.limits.lower, position)
        self._bounds[1] = np.maximum(self.limits.upper, position)
        self.danger = ""
        if self.collisions is not None:
            self.collisions.reset(self.position)

    @property
    def at_rest(self) -> bool:
        """Whether the last command was equal to the one before, and the one before that."""
        return not self._state[1:].any()

    def follow(self, target: NDArray[Any]) -> Array:
        """Return the command [n] of this period that comes nearest to `target` [n]; brakes if it is not finite."""
        if not np.isfinite(target).all():
            self.rejected += 1
            self.refused += 1
            return self.brake()
        inside = np.clip(np.asarray(target, np.float64), self.limits.lower, self.limits.upper)
        stopping.follow(self._state, inside, self._target, self._bounds, self._brakes, self._next)
        brakes, rest = self._brakes.copy(), np.empty_like(self._brakes)
        stopping.plan(self._next, self._bounds, len(rest) - 1, brakes, rest)
        forbidden = self._forbidden(command=self._next[0], rest=rest)
        if forbidden:
            self.brake()
        else:
            self._target, self._brakes, self._rest = inside, brakes, rest
            self._take()
        self.refused += forbidden or _differ(inside, target)
        self.limited += _differ(self.position, target)
        return self.position

    def brake(self) -> Array:
        """Return the command of this period on the way to a full stop."""
        stopping.slow_down(self._state, self._bounds, self._brakes, self._next)
        self._take()
        self._target = self.position
        return self.position

    def _forbidden(self, *, command: Array, rest: Array) -> bool:
        """Whether the tool would leave its box or something would meet."""
        if self.box is not None and self.box.left(self.position, command, rest):
            return True
        if self.collisions is not None:
            self.danger = self.collisions.threat(command, rest)
        return self.danger != ""

    def _take(self) -> None:
        """Make what was computed the present state; it differs from what was played ahead by rounding."""
        self._state = self._next.copy()
        np.clip(self._state[0], self._bounds[0], self._bounds[1], out=self._state[0])
        stopping.tighten(self._state, self._ends, self._bounds, self._brakes)


def _differ(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return bool((np.abs(a - b) > SAME).any())
