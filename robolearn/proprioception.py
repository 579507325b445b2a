"""Observation channels of an arm and its objects. Robot driver and simulator both make them here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.robot import RobotSpec
from robolearn.rotations import matrix_from_quat
from robolearn.schema import Feature

# position, then the first two columns of the rotation matrix: continuous, unlike quaternions, whose sign flips
# (Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", 2019)
POSE_NAMES = ("x", "y", "z", "r11", "r21", "r31", "r12", "r22", "r32")
POSE_UNITS = ("m", "m", "m", *("1",) * 6)
POSE_DIM = len(POSE_NAMES)
GOAL = "goal_"  # begins the names of components that say what is asked for


def state_feature(robot: RobotSpec) -> Feature:
    """Channel `observation.state`: joint angles, gripper width, tool pose in the base frame."""
    names = (*robot.joint_names, "gripper_width", *(f"tool_{n}" for n in POSE_NAMES))
    unit = ("rad",) * robot.n_joints + ("m", *POSE_UNITS)
    return Feature("float32", (len(names),), names, unit, "observation")


def poses_feature(objects: tuple[str, ...], n_variants: int = 1) -> Feature:
    """Channel `observation.environment_state`: pose of each object in the base frame.

    Where a task can ask for one of `n_variants` > 1 things, one component for each follows: 1 for what is asked.
    """
    goals = tuple(f"{GOAL}{k}" for k in range(n_variants)) if n_variants > 1 else ()
    names = (*(f"{o}_{n}" for o in objects for n in POSE_NAMES), *goals)
    unit = (*POSE_UNITS * len(objects), *("1",) * len(goals))
    return Feature("float32", (len(names),), names, unit, "observation")


def objects_of(feature: Feature) -> tuple[str, ...]:
    """Names of the objects whose poses a channel holds, in order."""
    return tuple(name.removesuffix("_x") for name in feature.names if name.endswith("_x"))


def pose_vector(pos: NDArray[np.float64], quat: NDArray[np.float64]) -> NDArray[np.float64]:
    """`POSE_NAMES` [..., 9] of positions [..., 3] in m and unit quaternions (w, x, y, z) [..., 4]."""
    return _flatten(pos, matrix_from_quat(quat))


def proprioception(robot: RobotSpec, joints: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float32]:
    """`observation.state` [..., n + 10] from joint angles [..., n] in rad and gripper width [...] in m."""
    tool = robot.chain.forward(joints)
    parts = (joints, np.asarray(width)[..., None], _flatten(tool.tool_pos, tool.tool_rot))
    return np.concatenate(parts, axis=-1).astype(np.float32)


def _flatten(pos: NDArray[np.float64], rot: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate((pos, rot[..., :, 0], rot[..., :, 1]), axis=-1)
