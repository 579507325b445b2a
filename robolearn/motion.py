"""Acceleration-limited motion between commands: the one trajectory that simulator and controller send."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.robot import RobotSpec

Array = NDArray[np.float64]
TINY = 1e-9


class MotionLimiter:
    """Follows moving targets within a robot's joint limits, velocities and accelerations.

    Targets come once per control step and are meant to move linearly in between. Each short step matches
    the target's velocity and closes what is left of the way e at most so fast that it can still brake:
    v = v_target + k e with k = min_j sqrt(a_j / |e_j|), a half-hearted bang-bang profile. All joints share
    every reduction, so that the path keeps its direction. The gripper width, the last component, is limited
    in speed only.
    """

    def __init__(self, robot: RobotSpec, dt: float) -> None:
        """Limit motion of `robot` in steps of `dt` seconds."""
        self.dt = dt
        self._lower = np.array((*robot.lower, 0.0))
        self._upper = np.array((*robot.upper, robot.gripper_width))
        self._speed = np.array(robot.max_velocity)
        self._acceleration = np.array(robot.max_acceleration)
        self._grip = robot.gripper_speed * dt

    def step(self, position: Array, velocity: Array, target: Array, target_velocity: Array) -> tuple[Array, Array]:
        """Advance by `dt`.

        Args:
            position: where the command is [..., n_joints + 1]; rad, the width in m.
            velocity: its velocity, likewise.
            target: where it should be at the end of the step; of the width, in the end.
            target_velocity: how fast the target moves.

        Returns:
            The next position and velocity.
        """
        before, speed = position[..., :-1], velocity[..., :-1]
        way = target[..., :-1] - before - target_velocity[..., :-1] * self.dt
        closing = np.sqrt(self._acceleration / np.maximum(np.abs(way), TINY)).min(axis=-1, keepdims=True)
        wanted = target_velocity[..., :-1] + way * np.minimum(closing, 1 / self.dt)
        wanted = _within(wanted, self._speed)
        speed = speed + _within(wanted - speed, self._acceleration * self.dt)
        grip = position[..., -1:] + np.clip(target[..., -1:] - position[..., -1:], -self._grip, self._grip)
        after = np.concatenate((before + speed * self.dt, grip), axis=-1)
        after = np.clip(after, self._lower, self._upper)
        return after, (after - position) / self.dt

    def follow(self, position: Array, velocity: Array, goal: Array, steps: int) -> tuple[Array, Array]:
        """Move towards `goal`, due after `steps` steps, along a straight line in joint space.

        Returns:
            Positions [..., steps, n_joints + 1] and the last velocity [..., n_joints + 1].
        """
        start = position
        rate = (goal - start) / (steps * self.dt)
        rate[..., -1] = 0.0  # the width is a set-point, not a path
        path = np.empty((*position.shape[:-1], steps, position.shape[-1]))
        for k in range(steps):
            target = start + rate * ((k + 1) * self.dt)
            target[..., -1] = goal[..., -1]
            position, velocity = self.step(position, velocity, target, rate)
            path[..., k, :] = position
        return path, velocity


def _within(vector: Array, bound: Array) -> Array:
    """Shorten vectors [..., n] until every component is within its bound; the direction stays."""
    excess = (np.abs(vector) / bound).max(axis=-1, keepdims=True)
    return vector / np.maximum(excess, 1.0)
