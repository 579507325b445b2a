"""The way home between two episodes on a physical arm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.action_space import ActionSpace, limit_command
from robolearn.protocols import Observation
from robolearn.robot import RobotSpec
from robolearn.schema import Feature, Schema

Array = NDArray[np.float64]
HOMING_SHARE = 0.15  # of the joints' speed
AT_HOME, OPEN = 0.03, 0.01  # rad from home, and m from the gripper's opening there, at which the arm has arrived


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


def away_from_home(robot: RobotSpec, observation: Observation, schema: Schema) -> str:
    """How far an arm is from home with an open gripper, as the beginning of a sentence; "" if it has arrived."""
    names = schema["observation.state"].names
    at = [names.index(name) for name in (*robot.joint_names, "gripper_width")]
    off = np.abs(observation["observation.state"][at] - (*robot.home, robot.gripper_width))
    if not off[:-1].max() <= AT_HOME:  # a joint that is not a number is not at home
        return f"the arm is {off[:-1].max():.2f} rad"
    return "" if off[-1] <= OPEN else f"the gripper's width is {off[-1]:.3f} m"
