"""What arms are made of: links with their shells, drives, and a hand with two parallel fingers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco

from robolearn.robot import RobotSpec

Vector = tuple[float, float, float]
Rgba = tuple[float, float, float, float]
# contact bits: bit 0 is gripper, table and objects among each other; bit 1 is the arm's shell against objects
SHELL: dict[str, Any] = {"contype": 2, "conaffinity": 0, "mass": 0.0, "group": 1}
GRIP: dict[str, Any] = {  # hard, rough and the pad's own, whatever it touches
    "friction": (1.5, 0.02, 0.0001),
    "condim": 4,
    "priority": 1,
    "solref": (0.01, 1.0),
    "solimp": (0.98, 0.998, 0.001, 0.5, 2.0),
}
SLIDER_MASS, PAD_MASS = 0.01, 0.005  # kg


@dataclass(frozen=True)
class Inertia:
    """Mass in kg, its centre in m, and ixx iyy izz ixy ixz iyz about that centre in kg m^2; in the body's frame."""

    mass: float
    centre: Vector
    moments: tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Tube:
    """A cylinder from `start` to `end`, m, with half spheres beyond unless `flat`."""

    start: Vector
    end: Vector
    radius: float
    rgba: Rgba
    flat: bool = False


@dataclass(frozen=True)
class Block:
    """A box around `pos` with half sizes `size`, m."""

    pos: Vector
    size: Vector
    rgba: Rgba


@dataclass(frozen=True)
class Drive:
    """A position controlled joint, in N m and rad, or in N and m if it slides.

    Attributes:
        stiffness: force per deviation.
        damping: force per velocity.
        force: the most that the actuator gives.
        armature: inertia of rotor and gear as felt at the joint, kg m^2 or kg.
        friction: viscous friction of the joint itself, force per velocity.
    """

    stiffness: float
    damping: float
    force: float
    armature: float = 0.1
    friction: float = 1.0


@dataclass(frozen=True)
class Link:
    """What hangs on one joint of the arm, in that joint's frame."""

    inertia: Inertia
    drive: Drive
    shells: tuple[Tube | Block, ...]


@dataclass(frozen=True)
class Hand:
    """A hand whose z axis points out of the gripper and whose fingers slide along its y axis.

    Attributes:
        pos: origin in the last joint's frame, m; its orientation there is the chain's `tool_quat`.
        length: from there to the point between the fingertips, m.
        inertia: of all but the fingers.
        palm: its geoms; unlike shells they touch table and objects.
        root: where along z the fingers begin, m.
        slider, pad: parts of the finger on the side of +y at width 0, seen from its root; the other is their mirror.
        drive: of each finger.
    """

    pos: Vector
    length: float
    inertia: Inertia
    palm: tuple[Block, ...]
    root: float
    slider: Block
    pad: Block
    drive: Drive


def add_arm(
    spec: mujoco.MjSpec,
    robot: RobotSpec,
    *,
    base: Sequence[Tube | Block],
    links: Sequence[Link],
    hand: Hand,
    weightless: bool,
) -> None:
    """Add an arm to a scene: bodies, joints and actuators in the order of the chain, fingers, site `tool`.

    Args:
        spec: the scene.
        robot: names, limits and chain.
        base: shell of what stands still, in the base frame.
        links: one for each joint.
        hand: at the end.
        weightless: the arm's controller carries the arm's own weight.
    """
    gravcomp = 1.0 if weightless else 0.0
    body = spec.worldbody.add_body(name=f"{robot.name}_link0")
    _add_shells(body, base, SHELL)
    for i, (name, link) in enumerate(zip(robot.joint_names, links, strict=True)):
        pos, quat = robot.chain.pos[i], robot.chain.quat[i]
        body = body.add_body(name=f"{robot.name}_link{i + 1}", pos=pos, quat=quat, gravcomp=gravcomp)
        _set_inertia(body, link.inertia)
        _add_joint(spec, body, name, link.drive, range=(robot.lower[i], robot.upper[i]), axis=(0, 0, 1))
        _add_shells(body, link.shells, SHELL)
    body = body.add_body(name=f"{robot.name}_hand", pos=hand.pos, quat=robot.chain.tool_quat, gravcomp=gravcomp)
    _set_inertia(body, hand.inertia)
    _add_shells(body, hand.palm, {"mass": 0.0})
    body.add_site(name="tool", pos=(0, 0, hand.length), size=(0.005, 0, 0), group=4)
    for name, side in zip(robot.gripper_joints, (1, -1), strict=True):
        finger = body.add_body(name=name, pos=(0, 0, hand.root), gravcomp=gravcomp)
        slide = {"type": mujoco.mjtJoint.mjJNT_SLIDE, "axis": (0, side, 0), "range": (0, robot.gripper_width / 2)}
        _add_joint(spec, finger, name, hand.drive, **slide)
        _add_block(finger, hand.slider, {"mass": SLIDER_MASS, "group": 1}, side)
        _add_block(finger, hand.pad, {"name": f"{name}_pad", "mass": PAD_MASS, **GRIP}, side)


def _set_inertia(body: mujoco.MjsBody, inertia: Inertia) -> None:
    body.mass, body.ipos, body.fullinertia = inertia.mass, inertia.centre, inertia.moments
    body.explicitinertial = True


def _add_joint(spec: mujoco.MjSpec, body: mujoco.MjsBody, name: str, drive: Drive, **options: Any) -> None:
    body.add_joint(name=name, limited=True, armature=drive.armature, damping=drive.friction, **options)
    actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    actuator.set_to_position(kp=drive.stiffness, kv=drive.damping)
    actuator.forcelimited, actuator.forcerange = True, (-drive.force, drive.force)


def _add_shells(body: mujoco.MjsBody, shells: Sequence[Tube | Block], options: dict[str, Any]) -> None:
    for shell in shells:
        if isinstance(shell, Block):
            _add_block(body, shell, options)
        else:
            _add_tube(body, shell, options)


def _add_tube(body: mujoco.MjsBody, tube: Tube, options: dict[str, Any]) -> None:
    kind = mujoco.mjtGeom.mjGEOM_CYLINDER if tube.flat else mujoco.mjtGeom.mjGEOM_CAPSULE
    ends = (*tube.start, *tube.end)
    body.add_geom(type=kind, fromto=ends, size=(tube.radius, 0, 0), rgba=tube.rgba, **options)


def _add_block(body: mujoco.MjsBody, block: Block, options: dict[str, Any], side: int = 1) -> None:
    x, y, z = block.pos
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=(x, side * y, z), size=block.size, rgba=block.rgba, **options)
