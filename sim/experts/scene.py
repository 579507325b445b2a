"""What a script sees: the named parts of a batch of observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.proprioception import POSE_DIM, objects_of
from robolearn.schema import Schema

Array = NDArray[np.float64]


class Scene:
    """Tool and bodies of n worlds in the base frame, m and rad.

    Attributes:
        width: gripper opening [n].
        widest: its largest value.
        tool_pos: point between the fingertips [n, 3].
        tool_rot: its orientation [n, 3, 3]; column 2 points out of the gripper, the fingers open along column 1.
        tool_yaw: turn of the tool's x axis about the vertical [n].
        pos, rot, yaw: of each body by name, likewise.
        goal: which of the task's variants is asked for [n], 0 where there is no choice.
    """

    def __init__(self, observation: Mapping[str, NDArray[Any]], schema: Schema) -> None:
        """Slice `observation` [n, dim] by the names in `schema`."""
        state = np.asarray(observation["observation.state"], np.float64)
        at = schema["observation.state"].names.index("gripper_width")
        high = schema.action.high
        assert high is not None
        self.width, self.widest = state[:, at], high[-1]
        tool = state[:, at + 1 :]
        self.tool_pos, self.tool_rot, self.tool_yaw = tool[:, :3], _matrix(tool), _yaw(tool)
        poses = np.asarray(observation["observation.environment_state"], np.float64)
        names = objects_of(schema["observation.environment_state"])
        pose = {name: poses[:, POSE_DIM * k : POSE_DIM * (k + 1)] for k, name in enumerate(names)}
        self.pos = {name: values[:, :3] for name, values in pose.items()}
        self.rot = {name: _matrix(values) for name, values in pose.items()}
        self.yaw = {name: _yaw(values) for name, values in pose.items()}
        goals = poses[:, POSE_DIM * len(names) :]
        self.goal = goals.argmax(axis=1) if goals.shape[1] else np.zeros(len(poses), np.int64)


def wrap(angle: Array, period: float) -> Array:
    """Angles [...] in rad brought to within half a period around zero: a cube looks the same every pi/2."""
    return (angle + period / 2) % period - period / 2


def rotation_vector(matrix: Array) -> Array:
    """Axis times angle [n, 3] in rad of rotation matrices [n, 3, 3]; exact up to, but not at, half a turn."""
    axis = np.stack(
        (
            matrix[:, 2, 1] - matrix[:, 1, 2],
            matrix[:, 0, 2] - matrix[:, 2, 0],
            matrix[:, 1, 0] - matrix[:, 0, 1],
        ),
        axis=1,
    )
    sine = np.linalg.norm(axis, axis=1)
    angle = np.arctan2(sine, np.trace(matrix, axis1=1, axis2=2) - 1)
    return axis * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 0.5)[:, None]


def _matrix(pose: Array) -> Array:
    x, y = pose[:, 3:6], pose[:, 6:9]
    return np.stack((x, y, np.cross(x, y)), axis=2)


def _yaw(pose: Array) -> Array:
    # turn about the vertical in rad: where the body's x axis points
    return np.arctan2(pose[:, 4], pose[:, 3])
