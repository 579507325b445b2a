"""Where the arm is when an episode begins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.action_space import MAX_ANGULAR_STEP, MAX_LINEAR_STEP, damped_least_squares
from robolearn.errors import UserError
from robolearn.robot import RobotSpec
from robolearn.sim.tasks.task import Area, Task

Array = NDArray[np.float64]
STEPS = 400
CLOSE = (1e-3, 1e-2)  # m and rad that count as there


def home_joints(task: Task, robot: RobotSpec) -> Array:
    """Joint angles [n_joints] in rad at the start: the robot's home, unless the task wants its tool elsewhere.

    Raises:
        UserError: the robot cannot hold its tool there.
    """
    home = np.array(robot.home)
    if task.tool is None:
        return home
    q, (pos, rot) = home, task.tool(Area.of(robot))
    for _ in range(STEPS):
        here = robot.chain.forward(q)
        way, turn = pos - here.tool_pos, _turn(rot @ here.tool_rot.T)
        if np.linalg.norm(way) < CLOSE[0] and np.linalg.norm(turn) < CLOSE[1]:
            return q
        twist = np.concatenate((_shorten(way, MAX_LINEAR_STEP), _shorten(turn, MAX_ANGULAR_STEP)))
        q = np.clip(q + damped_least_squares(here.jacobian(), twist, home - q), robot.lower, robot.upper)
    raise UserError(f"robot '{robot.name}' cannot hold its tool where task '{task.name}' begins")


def _shorten(vector: Array, longest: float) -> Array:
    return vector * min(1.0, longest / max(float(np.linalg.norm(vector)), 1e-9))


def _turn(matrix: Array) -> Array:
    """Rotation vector [3] of a matrix, to first order; exact enough to follow."""
    skew = matrix - matrix.T
    return np.array((skew[2, 1], skew[0, 2], skew[1, 0])) / 2
