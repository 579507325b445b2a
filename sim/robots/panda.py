"""Franka Emika Panda with its parallel hand, from the maker's published kinematics, inertias and limits."""

from __future__ import annotations

from math import cos, pi, sin, sqrt

import mujoco

from robolearn.robot import Chain, RobotSpec
from robolearn.sim.robots.parts import Block, Drive, Hand, Inertia, Link, Tube, add_arm

_H = sqrt(0.5)
_PLUS, _MINUS, _NONE = (_H, _H, 0.0, 0.0), (_H, -_H, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)  # turns about x by 90 deg
FLANGE = 0.107  # in the last joint's frame, m
FINGERTIP = 0.1034  # from the flange to the point between the fingertips, m

PANDA = RobotSpec(
    name="panda",
    joint_names=tuple(f"panda_joint{i}" for i in range(1, 8)),
    lower=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
    upper=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    max_velocity=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    max_acceleration=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
    home=(0.0, 0.1, 0.0, -2.2, 0.0, 2.3, pi / 4),  # gripper down, 23 cm above the table
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
        tool_pos=(0.0, 0.0, FLANGE + FINGERTIP),
        tool_quat=(cos(pi / 8), 0.0, 0.0, -sin(pi / 8)),  # the hand sits turned by -45 deg
    ),
    gripper_joints=("panda_finger_joint1", "panda_finger_joint2"),
    gripper_width=0.08,
    gripper_speed=0.2,
    workspace=((0.25, -0.35, 0.01), (0.75, 0.35, 0.5)),
    work_area=((0.42, -0.18), (0.66, 0.18)),
    max_jerk=(7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0),
)

# as identified for the maker's arm (Gaz et al., "Dynamic Identification of the Franka Emika Panda Robot", 2019)
INERTIAS = (
    Inertia(4.970684, (0.003875, 0.002081, -0.04762), (0.70337, 0.70661, 0.009117, -0.000139, 0.006772, 0.019169)),
    Inertia(0.646926, (-0.003141, -0.02872, 0.003495), (0.007962, 0.02811, 0.025995, -0.003925, 0.010254, 0.000704)),
    Inertia(3.228604, (0.027518, 0.039252, -0.066502), (0.037242, 0.036155, 0.01083, -0.004761, -0.011396, -0.012805)),
    Inertia(3.587895, (-0.05317, 0.104419, 0.027454), (0.025853, 0.019552, 0.028323, 0.007796, -0.001332, 0.008641)),
    Inertia(1.225946, (-0.011953, 0.041065, -0.038437), (0.035549, 0.029474, 0.008627, -0.002117, -0.004037, 0.000229)),
    Inertia(1.666555, (0.060149, -0.014117, -0.010517), (0.001964, 0.004354, 0.005433, 0.000109, -0.001158, 0.000341)),
    Inertia(0.735522, (0.010517, -0.004252, 0.061597), (0.012516, 0.010027, 0.004815, -0.000428, -0.001196, -0.000741)),
)
WHITE, DARK, PAD = (0.93, 0.94, 0.96, 1), (0.25, 0.27, 0.31, 1), (0.12, 0.12, 0.13, 1)
BASE = (Tube((0, 0, 0), (0, 0, 0.14), 0.075, WHITE, flat=True),)
SHELLS = (
    (Tube((0, 0, -0.19), (0, 0, -0.02), 0.065, WHITE), Tube((0, -0.05, 0), (0, 0.05, 0), 0.062, DARK)),
    (Tube((0, -0.14, 0), (0, -0.02, 0), 0.062, WHITE), Tube((0, 0, -0.05), (0, 0, 0.05), 0.062, DARK)),
    (Tube((0, 0, -0.15), (0, 0, -0.06), 0.060, WHITE), Tube((0.0825, -0.045, 0), (0.0825, 0.045, 0), 0.055, DARK)),
    (Tube((0, 0, -0.045), (0, 0, 0.045), 0.054, WHITE), Tube((-0.0825, 0.06, 0), (-0.0825, 0.1, 0), 0.055, DARK)),
    (Tube((0, 0, -0.26), (0, 0, -0.2), 0.058, WHITE), Tube((0, 0.07, -0.17), (0, 0.075, -0.05), 0.03, DARK)),
    (Tube((0, 0, -0.06), (0, 0, 0.01), 0.05, WHITE), Tube((0.088, 0.02, 0), (0.088, 0.05, 0), 0.045, DARK)),
    (Tube((0, 0, -0.03), (0, 0, 0.085), 0.043, WHITE),),
)
STIFFNESS = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)  # N m/rad
LAG = 0.04  # s by which a joint follows a moving command: its damping per stiffness
TORQUE = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)  # N m
LINKS = tuple(
    Link(inertia, Drive(stiffness, stiffness * LAG, torque), shells)
    for inertia, stiffness, torque, shells in zip(INERTIAS, STIFFNESS, TORQUE, SHELLS, strict=True)
)
HAND = Hand(
    pos=(0, 0, FLANGE),
    length=FINGERTIP,
    inertia=Inertia(0.73, (-0.01, 0.0, 0.03), (0.001, 0.0025, 0.0017, 0, 0, 0)),
    palm=(Block((0, 0, 0.033), (0.03, 0.1, 0.033), WHITE),),
    root=0.0584,
    slider=Block((0, 0.012, 0.018), (0.01, 0.008, 0.018), DARK),
    pad=Block((0, 0.006, 0.044), (0.009, 0.006, 0.0105), PAD),
    drive=Drive(stiffness=1000.0, damping=50.0, force=40.0),
)


def build_panda(spec: mujoco.MjSpec) -> None:
    """Add the arm to a scene at the world's origin."""
    add_arm(spec, PANDA, base=BASE, links=LINKS, hand=HAND, weightless=True)
