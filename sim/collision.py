"""The shape of an arm and its table as a small MJCF text, for the collision check of `robolearn.real.collision`.

Boxes, capsules, cylinders and spheres in the bodies that move them, nothing else: no mesh, no file, no dynamics. Bodies
that a joint connects, and the fingers among each other, are excluded, for they always touch.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import mujoco
from numpy.typing import NDArray

from robolearn.robot import RobotSpec
from robolearn.sim.robots import build_robot
from robolearn.sim.scene import add_table

DIGITS = 9  # of lengths in m
KINDS = {
    mujoco.mjtGeom.mjGEOM_SPHERE: ("sphere", 1),
    mujoco.mjtGeom.mjGEOM_CAPSULE: ("capsule", 2),
    mujoco.mjtGeom.mjGEOM_CYLINDER: ("cylinder", 2),
    mujoco.mjtGeom.mjGEOM_BOX: ("box", 3),
}  # name and number of sizes


def collision_model(robot: RobotSpec) -> str:
    """MJCF text of a robot on the table; geoms are called BODY_0, BODY_1, ..., and `table`."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    add_table(spec)
    build_robot(spec, robot)
    model = spec.compile()
    root = ET.Element("mujoco", model=robot.name)
    # masses mean nothing here, but MuJoCo wants some
    ET.SubElement(root, "compiler", angle="radian", boundmass="1", boundinertia="1")
    nodes = {0: ET.SubElement(root, "worldbody")}
    for body in range(1, model.nbody):
        pose = _pose(model.body_pos[body], model.body_quat[body])
        nodes[body] = ET.SubElement(
            nodes[model.body_parentid[body]], "body", {"name": str(model.body(body).name), **pose}
        )
    for joint in range(model.njnt):
        kind = "slide" if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE else "hinge"
        named = {"name": str(model.joint(joint).name), "type": kind, "axis": _text(model.jnt_axis[joint])}
        ET.SubElement(nodes[model.jnt_bodyid[joint]], "joint", named)
    for geom in range(model.ngeom):
        body = model.geom_bodyid[geom]
        kind, sizes = KINDS[mujoco.mjtGeom(model.geom_type[geom])]
        name = f"{model.body(body).name}_{geom - model.body_geomadr[body]}" if body else str(model.geom(geom).name)
        shape = {"name": name, "type": kind, "size": _text(model.geom_size[geom, :sizes])}
        ET.SubElement(nodes[body], "geom", shape | _pose(model.geom_pos[geom], model.geom_quat[geom]))
    contact = ET.SubElement(root, "contact")
    for one, other in _always_touching(model, robot):
        ET.SubElement(contact, "exclude", body1=one, body2=other)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _always_touching(model: mujoco.MjModel, robot: RobotSpec) -> Iterator[tuple[str, str]]:
    """Pairs of bodies that a joint connects, rigidly joined ones taken together, and the pair of fingers."""
    whole = [_carrier(model, body) for body in range(model.nbody)]
    for one in range(1, model.nbody):
        for other in range(one + 1, model.nbody):
            if whole[one] in (whole[other], whole[model.body_parentid[whole[other]]]):
                yield model.body(one).name, model.body(other).name
    one_finger, other_finger = robot.gripper_joints
    yield one_finger, other_finger


def _carrier(model: mujoco.MjModel, body: int) -> int:
    """The body that moves this one: itself, or what it is fixed to; the one on the world for the base."""
    while model.body_jntnum[body] == 0 and model.body_parentid[body] != 0:
        body = int(model.body_parentid[body])
    return body


def _pose(pos: NDArray[Any], quat: NDArray[Any]) -> dict[str, str]:
    return {"pos": _text(pos), "quat": _text(quat)}


def _text(values: NDArray[Any]) -> str:
    return " ".join(f"{value:.{DIGITS}g}" for value in values + 0.0)
