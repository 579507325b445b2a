"""Franka Emika Panda with its parallel hand, from the maker's published kinematics, inertias and limits."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import mujoco

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
    work_area=((0.42, -0.18), (0.66, 0.18)),
)

# (mass in kg, centre of mass in m, ixx iyy izz ixy ixz iyz in kg m^2) of links 1 to 7, as identified for the
# maker's arm (Gaz et al., "Dynamic Identification of the Franka Emika Panda Robot", 2019)
LINKS = (
    (4.970684, (0.003875, 0.002081, -0.04762), (0.70337, 0.70661, 0.009117, -0.000139, 0.006772, 0.019169)),
    (0.646926, (-0.003141, -0.02872, 0.003495), (0.007962, 0.02811, 0.025995, -0.003925, 0.010254, 0.000704)),
    (3.228604, (0.027518, 0.039252, -0.066502), (0.037242, 0.036155, 0.01083, -0.004761, -0.011396, -0.012805)),
    (3.587895, (-0.05317, 0.104419, 0.027454), (0.025853, 0.019552, 0.028323, 0.007796, -0.001332, 0.008641)),
    (1.225946, (-0.011953, 0.041065, -0.038437), (0.035549, 0.029474, 0.008627, -0.002117, -0.004037, 0.000229)),
    (1.666555, (0.060149, -0.014117, -0.010517), (0.001964, 0.004354, 0.005433, 0.000109, -0.001158, 0.000341)),
    (0.735522, (0.010517, -0.004252, 0.061597), (0.012516, 0.010027, 0.004815, -0.000428, -0.001196, -0.000741)),
)
# capsules (from, to, radius) that stand for the shell of each link, in its joint's frame, in m
SHELLS = (
    (((0, 0, -0.19), (0, 0, -0.02), 0.065), ((0, -0.05, 0), (0, 0.05, 0), 0.062)),
    (((0, -0.14, 0), (0, -0.02, 0), 0.062), ((0, 0, -0.05), (0, 0, 0.05), 0.062)),
    (((0, 0, -0.15), (0, 0, -0.06), 0.060), ((0.0825, -0.045, 0), (0.0825, 0.045, 0), 0.055)),
    (((0, 0, -0.045), (0, 0, 0.045), 0.054), ((-0.0825, 0.06, 0), (-0.0825, 0.1, 0), 0.055)),
    (((0, 0, -0.26), (0, 0, -0.2), 0.058), ((0, 0.07, -0.17), (0, 0.075, -0.05), 0.03)),
    (((0, 0, -0.06), (0, 0, 0.01), 0.05), ((0.088, 0.02, 0), (0.088, 0.05, 0), 0.045)),
    (((0, 0, -0.03), (0, 0, 0.085), 0.043),),
)
STIFFNESS = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)  # N m/rad
DAMPING_PER_STIFFNESS = 0.04  # s: the time by which a joint lags behind a moving command
TORQUE = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)  # N m
FINGER_STIFFNESS, FINGER_DAMPING, FINGER_FORCE = 1000.0, 50.0, 40.0  # N/m, N s/m, N
HAND = 0.107  # flange in the last joint's frame, m
FINGERTIP = 0.1034  # from the flange to the point between the fingertips, m

WHITE, DARK, PAD = (0.93, 0.94, 0.96, 1), (0.25, 0.27, 0.31, 1), (0.12, 0.12, 0.13, 1)
# contact bits: bit 0 is gripper, table and objects among each other; bit 1 is the arm's shell against objects
SHELL_BIT = 2


def build_panda(spec: mujoco.MjSpec) -> None:
    """Add the arm to a scene at the world's origin: joints, position actuators, site `tool`."""
    body = spec.worldbody.add_body(name="panda_link0")
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER, fromto=(0, 0, 0, 0, 0, 0.14), size=(0.075, 0, 0), rgba=WHITE, **_shell()
    )
    for i, name in enumerate(PANDA.joint_names):
        body = body.add_body(name=f"panda_link{i + 1}", pos=PANDA.chain.pos[i], quat=PANDA.chain.quat[i], gravcomp=1.0)
        mass, com, inertia = LINKS[i]
        body.mass, body.ipos, body.fullinertia, body.explicitinertial = mass, com, inertia, True
        body.add_joint(
            name=name, range=(PANDA.lower[i], PANDA.upper[i]), limited=True, armature=0.1, damping=1.0, axis=(0, 0, 1)
        )
        for k, (start, end, radius) in enumerate(SHELLS[i]):
            body.add_geom(
                type=mujoco.mjtGeom.mjGEOM_CAPSULE,
                fromto=(*start, *end),
                size=(radius, 0, 0),
                rgba=DARK if k == 1 else WHITE,
                **_shell(),
            )
        actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.set_to_position(kp=STIFFNESS[i], kv=STIFFNESS[i] * DAMPING_PER_STIFFNESS)
        actuator.forcelimited, actuator.forcerange = True, (-TORQUE[i], TORQUE[i])
    _build_hand(spec, body)


def _shell() -> dict[str, Any]:
    return {"contype": SHELL_BIT, "conaffinity": 0, "mass": 0.0, "group": 1}


def _build_hand(spec: mujoco.MjSpec, flange: mujoco.MjsBody) -> None:
    box = mujoco.mjtGeom.mjGEOM_BOX
    hand = flange.add_body(name="panda_hand", pos=(0, 0, HAND), quat=PANDA.chain.tool_quat, gravcomp=1.0)
    hand.mass, hand.ipos, hand.inertia = 0.73, (-0.01, 0.0, 0.03), (0.001, 0.0025, 0.0017)
    hand.explicitinertial = True
    hand.add_geom(type=box, pos=(0, 0, 0.033), size=(0.03, 0.1, 0.033), rgba=WHITE, mass=0.0)
    hand.add_site(name="tool", pos=(0, 0, FINGERTIP), size=(0.005, 0, 0), group=4)
    for name, side in zip(PANDA.gripper_joints, (1, -1), strict=True):
        finger = hand.add_body(name=name.replace("_joint", ""), pos=(0, 0, 0.0584), gravcomp=1.0)
        finger.add_joint(
            name=name,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=(0, side, 0),
            range=(0, PANDA.gripper_width / 2),
            limited=True,
            armature=0.1,
            damping=1.0,
        )
        finger.add_geom(
            type=box, pos=(0, side * 0.012, 0.018), size=(0.01, 0.008, 0.018), rgba=DARK, mass=0.01, **{"group": 1}
        )
        finger.add_geom(
            name=f"{name}_pad",
            type=box,
            pos=(0, side * 0.006, 0.044),
            size=(0.009, 0.006, 0.0105),
            rgba=PAD,
            mass=0.005,
            friction=(1.5, 0.02, 0.0001),
            condim=4,
            priority=1,
            solref=(0.01, 1.0),
            solimp=(0.98, 0.998, 0.001, 0.5, 2.0),
        )
        actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.set_to_position(kp=FINGER_STIFFNESS, kv=FINGER_DAMPING)
        actuator.forcelimited, actuator.forcerange = True, (-FINGER_FORCE, FINGER_FORCE)
