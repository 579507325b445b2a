"""Franka Emika Panda with its parallel hand, from the maker's published kinematics, inertias and limits."""

from __future__ import annotations

from math import pi, sqrt

from robolearn.robot import Chain, RobotSpec

_H = sqrt(0.5)
_PLUS, _MINUS, _NONE = (
    (_H, _H, 0.0, 0.0),
    (_H, -_H, 0.0, 0.0),
    (1.0, 0.0, 0.0, 0.0),
)  # turns about x by 90 deg

PANDA = RobotSpec(
    name="panda",
    joint_names=tuple(f"panda_joint{i}" for i in range(1, 8)),
    lower=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
    upper=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    max_velocity=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    max_acceleration=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
    home=(0.0, -pi / 8, 0.0, -5 * pi / 8, 0.0, pi / 2, pi / 4),
    chain=Chain(
        pos=(
            (0.0, 0.0, 0.333),
            (0.0, 0.0, 0.0),
            (0.0, -0.316, 0.0),
            (0.0825, 0.0, 0.0),
            (-0.0825, 0.384, 0.0),
            (0.0, 0.0, 0.0),
            (0.088, 0.0, 0.0),
        ),
        quat=(_NONE, _MINUS, _PLUS, _PLUS, _MINUS, _PLUS, _PLUS),
        tool_pos=(
            0.0,
            0.0,
            0.107 + 0.1034,
        ),  # flange, then the point between the fingertips
        tool_quat=(
            0.9238795325112867,
            0.0,
            0.0,
            -0.3826834323650898,
        ),  # the hand sits turned by -45 deg
    ),
    gripper_joints=("panda_finger_joint1", "panda_finger_joint2"),
    gripper_width=0.08,
    gripper_speed=0.2,
    workspace=((0.25, -0.35, 0.01), (0.75, 0.35, 0.5)),
)
