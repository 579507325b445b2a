"""`observation.state` of an arm: joints, gripper width and tool pose. Robot driver and simulator both emit it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.robot import RobotSpec
from robolearn.rotations import quat_from_matrix
from robolearn.schema import Feature

POSE_NAMES = ("x", "y", "z", "qw", "qx", "qy", "qz")
POSE_UNITS = ("m", "m", "m", "1", "1", "1", "1")


def state_feature(robot: RobotSpec) -> Feature:
    """Channel `observation.state`: joint angles, gripper width, tool position and quaternion (qw >= 0)."""
    names = (*robot.joint_names, "gripper_width", *(f"tool_{n}" for n in POSE_NAMES))
    unit = ("rad",) * robot.n_joints + ("m", *POSE_UNITS)
    return Feature("float32", (len(names),), names, unit, "observation")


def poses_feature(objects: tuple[str, ...]) -> Feature:
    """Channel `observation.environment_state`: position and quaternion (qw >= 0) of each object, base frame."""
    names = tuple(f"{o}_{n}" for o in objects for n in POSE_NAMES)
    return Feature(
        "float32", (len(names),), names, POSE_UNITS * len(objects), "observation"
    )


def objects_of(feature: Feature) -> tuple[str, ...]:
    """Names of the objects whose poses a channel holds, in order."""
    return tuple(
        name.removesuffix("_x") for name in feature.names if name.endswith("_x")
    )


def proprioception(
    robot: RobotSpec, joints: NDArray[np.float64], width: NDArray[np.float64]
) -> NDArray[np.float32]:
    """`observation.state` [..., n + 8] from joint angles [..., n] in rad and gripper width [...] in m."""
    tool = robot.chain.forward(joints)
    parts = (
        joints,
        np.asarray(width)[..., None],
        tool.tool_pos,
        quat_from_matrix(tool.tool_rot),
    )
    return np.concatenate(parts, axis=-1).astype(np.float32)
