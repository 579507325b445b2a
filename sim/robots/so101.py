"""SO-101: the low-cost arm of five joints, from its published design (TheRobotStudio/SO-ARM100, calibration "new").

Frames, joint limits, masses and the servos' inertia and torque are those of the design. Simplified: the jaw, in fact
one that swings against a fixed one, is two fingers that slide alike, and the point between them lies on the axis of
the roll joint; boxes stand for printed parts. With the gripper pointing down, the five joints leave x, y, z and the
yaw free: the tilt out of the arm's plane is always zero.

The arm stands on a plinth. Its wrist bends by 95 degrees, so that on the table the gripper, pointing down, could
rise by 9 cm at most; from the plinth it serves the heights that tasks need. The base frame stays on the table.
"""

from __future__ import annotations

from math import cos, pi, sin, sqrt

import mujoco

from robolearn.robot import Chain, RobotSpec
from robolearn.sim.robots.parts import Block, Drive, Hand, Inertia, Link, add_arm

_H = sqrt(0.5)
PLINTH = 0.15  # height in m; 0 is an arm that is clamped to the table
ROLL = 0.0487  # rad by which the zero of the roll joint is turned
FINGERTIP = 0.0981  # from the roll joint's origin to the point between the fingertips, m

SO101 = RobotSpec(
    name="so101",
    joint_names=("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"),
    lower=(-1.91986, -1.74533, -1.69, -1.65806, -2.74385),
    upper=(1.91986, 1.74533, 1.69, 1.65806, 2.84121),
    max_velocity=(3.0, 3.0, 3.0, 3.0, 3.0),  # under load; 4.7 without, as the servo's maker says
    max_acceleration=(15.0, 15.0, 20.0, 20.0, 20.0),  # ours
    home=(0.0, 0.02, 0.745, pi / 2 - 0.765, 0.0),  # gripper down, 13 cm above the table
    chain=Chain(
        pos=(
            (0.0388, 0.0, 0.0624 + PLINTH),
            (-0.0304, -0.0183, -0.0542),
            (-0.1126, -0.028, 0.0),
            (-0.1349, 0.0052, 0.0),
            (0.0, -0.0611, 0.0181),
        ),
        quat=(
            (0.0, 0.0, 1.0, 0.0),  # the pan joint's axis points down
            (0.5, -0.5, -0.5, -0.5),
            (_H, 0.0, 0.0, _H),
            (_H, 0.0, 0.0, -_H),
            (_H * sin(ROLL / 2), -_H * sin(ROLL / 2), _H * cos(ROLL / 2), _H * cos(ROLL / 2)),
        ),
        tool_pos=(0.0, 0.0, -FINGERTIP),
        tool_quat=(0.0, _H, _H, 0.0),
    ),
    gripper_joints=("gripper", "gripper_mirror"),
    gripper_width=0.07,
    gripper_speed=0.15,
    workspace=((0.12, -0.16, 0.01), (0.28, 0.16, 0.2)),
    work_area=((0.14, -0.1), (0.26, 0.1)),
)

INERTIAS = (
    Inertia(0.100, (-0.0308, 0, -0.0253), (8.376e-5, 8.104e-5, 2.398e-5, 7.6e-8, -1.163e-6, 1.55e-7)),
    Inertia(0.103, (-0.0898, -0.0084, 0.0184), (4.080e-5, 1.4732e-4, 1.4249e-4, -1.978e-5, -4.0e-8, 9e-9)),
    Inertia(0.104, (-0.0981, 0.0032, 0.0183), (2.874e-5, 1.5984e-4, 1.4529e-4, 7.412e-6, 1.264e-6, -4.9e-8)),
    Inertia(0.079, (-0.0001, -0.0386, 0.0281), (3.683e-5, 2.539e-5, 2.100e-5, 1.8e-8, -5.3e-8, 3.641e-6)),
    Inertia(0.087, (0.0002, 0.0002, -0.0252), (2.751e-5, 4.337e-5, 3.451e-5, -3.35e-7, -5.736e-6, -5.2e-8)),
)
YELLOW, BLACK, PAD, WOOD = (0.98, 0.80, 0.15, 1), (0.13, 0.13, 0.14, 1), (0.25, 0.25, 0.27, 1), (0.45, 0.36, 0.28, 1)
SERVO = (0.0226, 0.0124, 0.0175)  # half sizes of the servo's case, m
BASE = (
    Block((0, 0, PLINTH / 2), (0.06, 0.05, PLINTH / 2), WOOD),
    Block((0, 0, PLINTH + 0.011), (0.05, 0.04, 0.011), YELLOW),
    Block((0.0263, 0, PLINTH + 0.0392), SERVO, BLACK),
    Block((-0.02, 0, PLINTH + 0.042), (0.018, 0.03, 0.02), YELLOW),
)
SHELLS = (
    (
        Block((-0.01, 0, -0.0027), (0.03, 0.024, 0.0083), YELLOW),
        Block((-0.0304, 0, -0.0417), (0.0124, 0.0175, 0.0226), BLACK),
        Block((-0.012, 0, -0.0325), (0.005, 0.022, 0.025), YELLOW),
    ),
    (
        Block((-0.05, -0.004, 0.0183), (0.045, 0.0135, 0.021), YELLOW),
        Block((-0.1126, -0.0155, 0.0183), (0.0124, 0.0226, 0.0175), BLACK),
    ),
    (
        Block((-0.062, 0.0035, 0.0183), (0.045, 0.0125, 0.021), YELLOW),
        Block((-0.1224, 0.0052, 0.0183), (0.0226, 0.0124, 0.0175), BLACK),
    ),
    (
        Block((0, -0.012, 0.0183), (0.0115, 0.018, 0.022), YELLOW),
        Block((0, -0.0424, 0.0183), (0.0124, 0.0175, 0.0226), BLACK),
    ),
    (Block((0, 0, -0.004), (0.02, 0.016, 0.004), YELLOW),),
)
TORQUE = 3.0  # N m of a servo
SERVO_DRIVE = Drive(stiffness=200.0, damping=8.0, force=TORQUE, armature=0.028, friction=0.6)
LINKS = tuple(Link(inertia, SERVO_DRIVE, shells) for inertia, shells in zip(INERTIAS, SHELLS, strict=True))
HAND = Hand(
    pos=(0, 0, 0),
    length=FINGERTIP,
    inertia=Inertia(0.012, (0, 0, 0.06), (5e-6, 5e-6, 2e-6, 0, 0, 0)),
    palm=(
        Block((0, 0, 0.0225), (0.0175, 0.0226, 0.0145), BLACK),
        Block((0, 0, 0.046), (0.013, 0.05, 0.009), YELLOW),
    ),
    root=0.055,
    slider=Block((0, 0.011, 0.016), (0.009, 0.006, 0.016), YELLOW),
    pad=Block((0, 0.005, 0.042), (0.009, 0.005, 0.010), PAD),
    drive=Drive(stiffness=1000.0, damping=50.0, force=15.0),
)


def build_so101(spec: mujoco.MjSpec) -> None:
    """Add the arm to a scene; it stands on its plinth at the world's origin."""
    add_arm(spec, SO101, base=BASE, links=LINKS, hand=HAND, weightless=False)
