"""Universal Robots UR5e with a parallel gripper, from the maker's published kinematics, inertias and limits.

The gripper has opening, length, mass, speed and force of the 2F-85 class, but two fingers that slide in place of
linkages. The base frame is `base_link` of the ROS 2 driver: the teach pendant's is turned by 180 degrees about z.
"""

from __future__ import annotations

from math import pi, sqrt

import mujoco

from robolearn.robot import Chain, RobotSpec
from robolearn.sim.robots.parts import Block, Drive, Hand, Inertia, Link, Tube, add_arm

_H = sqrt(0.5)
_PLUS, _MINUS, _NONE = (_H, _H, 0.0, 0.0), (_H, -_H, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)  # turns about x by 90 deg
_BACK = (0.0, 0.0, 0.0, 1.0)  # half a turn about z
FINGERTIP = 0.163  # from the flange to the point between the fingertips, m

UR5E = RobotSpec(
    name="ur5e",
    joint_names=(
        "shoulder_pan_joint",
        "shoulder_lift_joint",
        "elbow_joint",
        "wrist_1_joint",
        "wrist_2_joint",
        "wrist_3_joint",
    ),
    lower=(-2 * pi, -2 * pi, -pi, -2 * pi, -2 * pi, -2 * pi),
    upper=(2 * pi, 2 * pi, pi, 2 * pi, 2 * pi, 2 * pi),
    max_velocity=(pi, pi, pi, pi, pi, pi),
    max_acceleration=(
        8.0,
        8.0,
        10.0,
        15.0,
        15.0,
        15.0,
    ),  # the maker gives none; stretched out, they cost half the torque
    home=(-0.2494, -1.4706, 1.7094, -1.8096, -pi / 2, -1.8202),  # gripper down, 23 cm above the table
    chain=Chain(
        pos=(
            (0.0, 0.0, 0.1625),
            (0.0, 0.0, 0.0),
            (-0.425, 0.0, 0.0),
            (-0.3922, 0.0, 0.1333),
            (0.0, -0.0997, 0.0),
            (0.0, 0.0996, 0.0),
        ),
        quat=(_BACK, _PLUS, _NONE, _NONE, _PLUS, _MINUS),
        tool_pos=(0.0, 0.0, FINGERTIP),
        tool_quat=_NONE,
    ),
    gripper_joints=("left_finger_joint", "right_finger_joint"),
    gripper_width=0.085,
    gripper_speed=0.15,
    workspace=((0.25, -0.35, 0.01), (0.75, 0.35, 0.45)),
    work_area=((0.42, -0.18), (0.66, 0.18)),
)

# the maker's, turned into the joint frames (Universal Robots, "DH Parameters for calculations of kinematics and
# dynamics", and `physical_parameters.yaml` of the ROS 2 package ur_description)
INERTIAS = (
    Inertia(3.761, (0, -0.00193, -0.02561), (0.0070021, 0.00657286, 0.00648091, 1.053e-5, 7.3e-7, -0.00049994)),
    Inertia(8.058, (-0.2125, 0, 0.11336), (0.01505885, 0.33388086, 0.33247207, -5.4e-5, 5.63e-6, -1.81e-6)),
    Inertia(2.846, (-0.2422, 0, 0.0265), (0.00399632, 0.07879254, 0.0784851, -1.365e-5, 0.00137272, -6.6e-6)),
    Inertia(1.37, (0, -0.01634, -0.0018), (0.00165491, 0.00126279, 0.00135962, 4.38e-6, -2.82e-6, -0.00010157)),
    Inertia(1.3, (0, 0.01634, -0.0018), (0.00135617, 0.00096614, 0.00127827, 4.44e-6, 2.74e-6, 5.048e-5)),
    Inertia(0.365, (0, 0, -0.001159), (0.00018694, 0.00018908, 0.00025756, 6e-8, -1.7e-7, -9.2e-7)),
)
SILVER, BLUE, BLACK, PAD = (0.80, 0.82, 0.84, 1), (0.42, 0.62, 0.78, 1), (0.16, 0.17, 0.19, 1), (0.10, 0.10, 0.11, 1)
BASE = (
    Tube((0, 0, 0), (0, 0, 0.03), 0.075, BLACK, flat=True),
    Tube((0, 0, 0.03), (0, 0, 0.1), 0.064, SILVER, flat=True),
)
SHELLS = (
    (
        Tube((0, 0, -0.062), (0, 0, 0.03), 0.060, SILVER, flat=True),
        Tube((0, 0.06, 0), (0, -0.075, 0), 0.058, SILVER, flat=True),
        Tube((0, 0.06, 0), (0, 0.068, 0), 0.058, BLUE, flat=True),
    ),
    (
        Tube((0, 0, 0.077), (0, 0, 0.2), 0.060, SILVER, flat=True),
        Tube((0, 0, 0.2), (0, 0, 0.208), 0.060, BLUE, flat=True),
        Tube((-0.05, 0, 0.138), (-0.375, 0, 0.138), 0.047, SILVER, flat=True),
        Tube((-0.425, 0, 0.075), (-0.425, 0, 0.19), 0.054, SILVER, flat=True),
        Tube((-0.425, 0, 0.19), (-0.425, 0, 0.198), 0.054, BLUE, flat=True),
    ),
    (
        Tube((0, 0, -0.05), (0, 0, 0.073), 0.052, SILVER, flat=True),
        Tube((0, 0, -0.058), (0, 0, -0.05), 0.052, BLUE, flat=True),
        Tube((-0.04, 0, 0.007), (-0.36, 0, 0.007), 0.037, SILVER, flat=True),
        Tube((-0.3922, 0, -0.045), (-0.3922, 0, 0.072), 0.040, SILVER, flat=True),
    ),
    (
        Tube((0, 0, -0.06), (0, 0, 0.042), 0.038, SILVER, flat=True),
        Tube((0, 0, 0.042), (0, 0, 0.05), 0.038, BLUE, flat=True),
        Tube((0, -0.03, 0), (0, -0.057, 0), 0.037, SILVER, flat=True),
    ),
    (
        Tube((0, 0, -0.042), (0, 0, 0.042), 0.038, SILVER, flat=True),
        Tube((0, 0, 0.042), (0, 0, 0.05), 0.038, BLUE, flat=True),
        Tube((0, 0.03, 0), (0, 0.062, 0), 0.037, SILVER, flat=True),
    ),
    (Tube((0, 0, -0.037), (0, 0, 0), 0.037, SILVER, flat=True),),
)
STIFFNESS = (6000.0, 6000.0, 4500.0, 2000.0, 2000.0, 2000.0)  # N m/rad, ours: the maker's controller is stiff
LAG = 0.04  # s by which a joint follows a moving command: its damping per stiffness
TORQUE = (150.0, 150.0, 150.0, 28.0, 28.0, 28.0)  # N m
LINKS = tuple(
    Link(inertia, Drive(stiffness, stiffness * LAG, torque), shells)
    for inertia, stiffness, torque, shells in zip(INERTIAS, STIFFNESS, TORQUE, SHELLS, strict=True)
)
HAND = Hand(
    pos=(0, 0, 0),
    length=FINGERTIP,
    inertia=Inertia(0.9, (0, 0, 0.055), (0.0016, 0.0011, 0.0014, 0, 0, 0)),
    palm=(
        Block((0, 0, 0.012), (0.0375, 0.0375, 0.012), BLACK),
        Block((0, 0, 0.058), (0.03, 0.045, 0.034), BLACK),
        Block((0, 0, 0.104), (0.02, 0.068, 0.012), SILVER),
    ),
    root=0.116,
    slider=Block((0, 0.014, 0.018), (0.0105, 0.008, 0.018), BLACK),
    pad=Block((0, 0.006, 0.046), (0.011, 0.006, 0.0105), PAD),
    drive=Drive(stiffness=1000.0, damping=50.0, force=60.0),
)


def build_ur5e(spec: mujoco.MjSpec) -> None:
    """Add the arm to a scene at the world's origin."""
    add_arm(spec, UR5E, base=BASE, links=LINKS, hand=HAND, weightless=True)
