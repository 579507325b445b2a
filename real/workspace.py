"""The box that the tool stays in."""

from __future__ import annotations

from math import cos, sin

import numpy as np
from numpy.typing import NDArray

from robolearn.jit import jit
from robolearn.robot import RobotSpec
from robolearn.rotations import matrix_from_quat

Array = NDArray[np.float64]
TINY = 1e-9  # m


class Workspace:
    """The robot's workspace, widened by a margin, in the base frame."""

    def __init__(self, robot: RobotSpec, *, margin: float) -> None:
        """Take the box of `robot`; `margin` in m."""
        low, high = np.array(robot.workspace)
        self._box: Array = np.stack((low - margin, high + margin))
        chain = robot.chain
        self._pos, self._rot = np.array(chain.pos), matrix_from_quat(np.array(chain.quat))
        self._tool = np.array(chain.tool_pos)

    def left(self, here: Array, command: Array, rest: Array) -> bool:
        """Whether a command, or the place where braking from it ends, would take the tool out of the box.

        Where it is outside already, further out than it is. Arguments are [n_joints + 1], the width does not matter.
        """
        allowed = self.beyond(here) + TINY
        return self.beyond(command) > allowed or self.beyond(rest) > allowed

    def beyond(self, position: Array) -> float:
        """How far in m the tool is outside at `position` [n_joints + 1]; 0 inside."""
        return _beyond(position, self._pos, self._rot, self._tool, self._box)


@jit
def _beyond(position: Array, pos: Array, rot: Array, tool: Array, box: Array) -> float:
    """See `Workspace.beyond`; `robolearn.robot.Chain.forward` of the tool's position alone, compiled."""
    point = tool.copy()
    for i in range(len(pos) - 1, -1, -1):  # from the tool to the base, turning about each z axis
        c, s = cos(position[i]), sin(position[i])
        x, y, z = c * point[0] - s * point[1], s * point[0] + c * point[1], point[2]
        for k in range(3):
            point[k] = pos[i, k] + rot[i, k, 0] * x + rot[i, k, 1] * y + rot[i, k, 2] * z
    worst = 0.0
    for k in range(3):
        worst = max(worst, box[0, k] - point[k], point[k] - box[1, k])
    return worst
