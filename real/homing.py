"""The way home between two episodes on a physical arm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.action_space import ActionSpace, limit_command
from robolearn.robot import RobotSpec
from robolearn.schema import Feature

Array = NDArray[np.float64]
HOMING_SHARE = 0.15  # of the joints' speed


class HomingSpace:
    """An action space that can be switched to joint positions, approached slowly; see `ActionSpace`.

    Attributes:
        homing: whether actions are joint positions and gripper width [n_joints + 1]; to be switched at rest only.
    """

    def __init__(self, space: ActionSpace) -> None:
        """Start with the actions of `space`."""
        self._space, self.homing = space, False

    @property
    def robot(self) -> RobotSpec:
        """The arm whose limits hold."""
        return self._space.robot

    @property
    def dt(self) -> float:
        """Control step in s."""
        return self._space.dt

    @property
    def feature(self) -> Feature:
        """The `action` channel."""
        return self._space.feature

    def command(self, reference: Array, measured: Array, action: Array) -> Array:
        """See `ActionSpace.command`."""
        if not self.homing:
            return self._space.command(reference, measured, action)
        return limit_command(self.robot, reference, measured, action[:-1], action[-1], HOMING_SHARE * self.dt)
