"""A scene as the assets of Isaac Gym: plain data from a MuJoCo model, made without Isaac Gym.

Isaac Gym loads a robot, an object or a fixture each from a file of its own and lets it stand in the world as an actor.
Its MJCF importer is of 2021 and ends the process on much that came later, so the files are written from the compiled
model in the plainest dialect: radians, no defaults, sizes and quaternions spelt out, every geom named.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.rotations import matrix_from_quat

Array = NDArray[np.float64]
SCENERY = "scenery"  # the actor of what is fixed in the world, such as the table
SHAPES = {
    mujoco.mjtGeom.mjGEOM_SPHERE: ("sphere", 1),
    mujoco.mjtGeom.mjGEOM_CAPSULE: ("capsule", 2),
    mujoco.mjtGeom.mjGEOM_CYLINDER: ("cylinder", 2),
    mujoco.mjtGeom.mjGEOM_BOX: ("box", 3),
}
JOINTS = {mujoco.mjtJoint.mjJNT_HINGE: "hinge", mujoco.mjtJoint.mjJNT_SLIDE: "slide"}


@dataclass(frozen=True)
class Asset:
    """One actor: a body that stands in the world, with all that hangs on it.

    Attributes:
        name: of its root body.
        mjcf: the asset as a file, its root at the origin.
        bodies: the model's ids of its bodies by their names in the asset, the root first.
        joints: the model's ids of its hinges and slides, by name.
        geoms: the model's ids of the geoms of each body, in the order of the file, by the body's name.
        free: whether it is a free object.
        placed: whether an episode's start says where it stands.
        weightless: whether gravity leaves it alone.
    """

    name: str
    mjcf: str
    bodies: dict[str, int]
    joints: dict[str, int]
    geoms: dict[str, list[int]]
    free: bool
    placed: bool
    weightless: bool


def split_scene(model: mujoco.MjModel) -> list[Asset]:
    """The actors of a scene: what is fixed in the world first, then each body that stands in it.

    Marks, which touch nothing, are left out, and bodies of nothing else with them.

    Raises:
        UserError: the scene has a geom or a joint that no asset of ours can have.
    """
    roots = np.flatnonzero(model.body_parentid == 0).tolist()  # the world is its own parent
    assets = [_asset(model, root) for root in roots]
    return [asset for asset in assets if any(asset.geoms.values())]


def collision_filters(model: mujoco.MjModel) -> NDArray[np.int64]:
    """Bits [ngeom] that say the same as MuJoCo's `contype` and `conaffinity`, for geoms of different bodies.

    MuJoCo lets two geoms touch where the type of one meets the affinity of the other, Isaac Gym where their bits have
    none in common. So each bit stands for a set of bodies' surfaces that all pass through each other, and every two
    that do so are in one of the sets. Marks, which touch nothing, have no bits.
    """
    kinds = np.stack((model.geom_bodyid, model.geom_contype, model.geom_conaffinity), axis=1)
    surfaces, surface = np.unique(kinds, axis=0, return_inverse=True)
    _, kind, likes = surfaces.T
    solid = (kind | likes) != 0
    apart = (kind[:, None] & likes | kind & likes[:, None]) == 0
    apart &= solid[:, None] & solid
    bits, sets = np.zeros(len(surfaces), np.int64), 0
    for pair in np.argwhere(np.triu(apart, 1)).tolist():
        if bits[pair[0]] & bits[pair[1]]:
            continue
        for other in range(len(surfaces)):
            if other not in pair and apart[other, pair].all():
                pair.append(other)
        bits[pair] |= 1 << sets
        sets += 1
    return bits[surface.ravel()]


def inertia_matrices(quat: Array, moments: Array) -> Array:
    """Inertia [..., 3, 3] along a body's axes, from principal axes [..., 4] and principal moments [..., 3]."""
    axes = matrix_from_quat(quat)
    return (axes * moments[..., None, :]) @ axes.swapaxes(-1, -2)


def _asset(model: mujoco.MjModel, root: int) -> Asset:
    bodies = {_name(model, body): body for body in _tree(model, root)}
    joints = [joint for body in bodies.values() for joint in _joints(model, body)]
    hinged = [joint for joint in joints if model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE]
    free = len(joints) > len(hinged)
    document = ElementTree.Element("mujoco", model=_name(model, root))
    ElementTree.SubElement(document, "compiler", angle="radian")
    _add_body(ElementTree.SubElement(document, "worldbody"), model, root, at_origin=True)
    ElementTree.indent(document)
    return Asset(
        name=_name(model, root),
        mjcf=ElementTree.tostring(document, encoding="unicode"),
        bodies=bodies,
        joints={str(model.joint(joint).name): joint for joint in hinged},
        geoms={name: _solids(model, body) for name, body in bodies.items()},
        free=free,
        placed=free or bool(model.body_mocapid[root] >= 0),
        weightless=bool((model.body_gravcomp[list(bodies.values())] > 0).any()),
    )


def _tree(model: mujoco.MjModel, body: int) -> list[int]:
    return [body, *(i for child in _children(model, body) for i in _tree(model, child))]


def _children(model: mujoco.MjModel, body: int) -> list[int]:
    """Bodies that hang on a body; those that stand in the world are assets of their own."""
    return np.flatnonzero(model.body_parentid == body).tolist() if body else []


def _name(model: mujoco.MjModel, body: int) -> str:
    return str(model.body(body).name) if body else SCENERY


def _joints(model: mujoco.MjModel, body: int) -> list[int]:
    return list(range(model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body]))


def _solids(model: mujoco.MjModel, body: int) -> list[int]:
    """The geoms of a body that touch others."""
    geoms = np.flatnonzero(model.geom_bodyid == body)
    return [int(g) for g in geoms if model.geom_contype[g] or model.geom_conaffinity[g]]


def _add_body(parent: ElementTree.Element, model: mujoco.MjModel, body: int, *, at_origin: bool = False) -> None:
    element = ElementTree.SubElement(parent, "body", name=_name(model, body))
    if not at_origin:
        element.attrib |= {"pos": _text(model.body_pos[body]), "quat": _text(model.body_quat[body])}
    if model.body_mass[body] > 0:
        ElementTree.SubElement(
            element,
            "inertial",
            pos=_text(model.body_ipos[body]),
            quat=_text(model.body_iquat[body]),
            mass=_text(model.body_mass[body : body + 1]),
            diaginertia=_text(model.body_inertia[body]),
        )
    for joint in _joints(model, body):
        _add_joint(element, model, joint)
    for geom in _solids(model, body):
        _add_geom(element, model, geom)
    for child in _children(model, body):
        _add_body(element, model, child)


def _add_joint(parent: ElementTree.Element, model: mujoco.MjModel, joint: int) -> None:
    name, kind = model.joint(joint).name, mujoco.mjtJoint(model.jnt_type[joint])
    if kind == mujoco.mjtJoint.mjJNT_FREE:
        ElementTree.SubElement(parent, "freejoint", name=name)
        return
    if kind not in JOINTS:
        raise UserError(f"Isaac Gym's backend knows hinges and slides; joint '{name}' is neither")
    ElementTree.SubElement(
        parent,
        "joint",
        name=name,
        type=JOINTS[kind],
        pos=_text(model.jnt_pos[joint]),
        axis=_text(model.jnt_axis[joint]),
        limited="true" if model.jnt_limited[joint] else "false",
        range=_text(model.jnt_range[joint]),
    )


def _add_geom(parent: ElementTree.Element, model: mujoco.MjModel, geom: int) -> None:
    kind, name = mujoco.mjtGeom(model.geom_type[geom]), model.geom(geom).name or f"geom{geom}"
    if kind not in SHAPES:
        raise UserError(f"Isaac Gym's backend knows spheres, capsules, cylinders and boxes; '{name}' is none of them")
    shape, sizes = SHAPES[kind]
    ElementTree.SubElement(
        parent,
        "geom",
        name=name,
        type=shape,
        size=_text(model.geom_size[geom, :sizes]),
        pos=_text(model.geom_pos[geom]),
        quat=_text(model.geom_quat[geom]),
    )


def _text(values: Array) -> str:
    return " ".join(f"{value:.9g}" for value in values)
