"""Where cameras stand: fixed in the world or carried by a body of the robot, as plain data.

A camera looks along the -z axis of its own frame, with x to the right and y up in the picture, as MuJoCo's do.
`robolearn.sim.raycast` draws what they see for learning, `robolearn.sim.gl_camera` with OpenGL.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from robolearn.errors import UserError, nearest
from robolearn.robot import RobotSpec
from robolearn.rotations import matrix_from_quat

Array = NDArray[np.float64]
Vector = tuple[float, float, float]

# from the robot's base, in units of the distance to the far edge of its work area and a hand's length more
EXTERNAL_POS: Vector = (1.55, -0.8, 0.8)
EXTERNAL_LOOKAT: Vector = (0.55, 0.0, 0.15)
HAND_LENGTH = 0.1  # m
EXTERNAL_FOVY = 42.0  # degrees
# in the frame of the site `tool` (z out of the gripper, y along the fingers' motion)
WRIST_POS: Vector = (0.08, 0.0, -0.06)  # m
WRIST_LOOKAT: Vector = (0.0, 0.0, 0.04)  # m
WRIST_FOVY = 75.0  # degrees


def look_at(pos: ArrayLike, lookat: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> Array:
    """Axes right, up and back of a camera at `pos`, as columns [3, 3]; back points from `lookat` to `pos`.

    Args:
        pos: where it stands [3].
        lookat: the point in the centre of the picture [3].
        up: direction [3] that is upwards in the picture; where the camera looks along it, the y or else the z axis is.

    Raises:
        UserError: the camera looks at its own position.
    """
    back = np.subtract(pos, lookat).astype(float)
    if np.allclose(back, 0.0):
        raise UserError(f"the camera at {pos!r} looks at its own position: move `pos` or `lookat`")
    back /= np.linalg.norm(back)
    right = np.cross(np.asarray(up, float), back)
    if np.linalg.norm(right) < 1e-2 * np.linalg.norm(up):
        other = (0.0, 1.0, 0.0) if abs(back[1]) < 0.9 else (0.0, 0.0, 1.0)
        right = np.cross(np.array(other), back)
    right /= np.linalg.norm(right)
    return np.stack((right, np.cross(back, right), back), axis=1)


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """A camera as data; all vectors are in the frame of `body`.

    Attributes:
        name: its images are the channel `observation.images.<name>`.
        pos: where it stands, in m.
        lookat: the point in the centre of the picture, in m; or None where `quat` says how it is turned.
        quat: its orientation (w, x, y, z), or None where `lookat` is given.
        up: direction that is upwards in the picture; for `lookat` only.
        body: what carries it; None is the world.
        fovy: vertical field of view in degrees.
    """

    name: str
    pos: Vector
    lookat: Vector | None = None
    quat: tuple[float, float, float, float] | None = None
    up: Vector = (0.0, 0.0, 1.0)
    body: str | None = None
    fovy: float = 45.0

    def __post_init__(self) -> None:
        if (self.lookat is None) == (self.quat is None):
            raise UserError(f"camera '{self.name}' needs either `lookat` or `quat`")
        if not 0 < self.fovy < 180:
            raise UserError(f"camera '{self.name}' needs 0 < fovy < 180 degrees, not {self.fovy}")
        if self.quat is not None and not np.linalg.norm(self.quat) > 0:
            raise UserError(f"camera '{self.name}' has a quaternion of length 0: give a rotation")
        if not np.isfinite(self.axes).all():
            raise UserError(f"camera '{self.name}' has a pose that is not finite")

    @property
    def axes(self) -> Array:
        """Its axes right, up and back as columns [3, 3], in the frame of `body`."""
        if self.quat is None:
            assert self.lookat is not None
            return look_at(self.pos, self.lookat, self.up)
        return matrix_from_quat(np.array(self.quat) / np.linalg.norm(self.quat))


def external_camera(robot: RobotSpec) -> CameraSpec:
    """A camera `external` that stands before the table: it sees where the robot works, and most of the arm.

    It is the farther away the farther the robot reaches over the table.
    """
    reach = robot.work_area[1][0] + HAND_LENGTH
    return CameraSpec(
        name="external",
        pos=_vector(reach * np.array(EXTERNAL_POS)),
        lookat=_vector(reach * np.array(EXTERNAL_LOOKAT)),
        fovy=EXTERNAL_FOVY,
    )


def wrist_camera(model: mujoco.MjModel, *, site: str = "tool") -> CameraSpec:
    """A camera `wrist` on the body that carries the gripper's site: it sees fingertips and what lies below them.

    The site's z axis points out of the gripper and its y axis along the fingers' motion, as `robolearn.robot` has it.

    Raises:
        UserError: the model has no such site.
    """
    tool = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, site)
    if tool < 0:
        raise UserError(f"the model has no site '{site}' to put a wrist camera at: give the robot a camera of its own")
    axes = matrix_from_quat(model.site_quat[tool])
    return CameraSpec(
        name="wrist",
        pos=_vector(model.site_pos[tool] + axes @ WRIST_POS),
        lookat=_vector(model.site_pos[tool] + axes @ WRIST_LOOKAT),
        up=_vector(axes @ (1.0, 0.0, 0.0)),
        body=model.body(model.site_bodyid[tool]).name,
        fovy=WRIST_FOVY,
    )


def cameras_of(model: mujoco.MjModel, robot: RobotSpec, own: Iterable[CameraSpec] = ()) -> dict[str, CameraSpec]:
    """All cameras of a scene by name: `external`, `wrist`, and the robot's or task's `own`, which replace them."""
    standard = (external_camera(robot), wrist_camera(model))
    return {camera.name: camera for camera in (*standard, *own)}


def find_camera(cameras: dict[str, CameraSpec], name: str) -> CameraSpec:
    """The camera of this name; UserError names the nearest one."""
    if name not in cameras:
        raise UserError(f"unknown camera '{name}'{nearest(name, cameras)}")
    return cameras[name]


@dataclass(frozen=True)
class Mount:
    """A camera's pose in the frame of a geom that moves with it, so that geom poses are all that is needed.

    Attributes:
        geom: its id, -1 for the world.
        pos: [3] in m.
        axes: right, up and back as columns [3, 3].
    """

    geom: int
    pos: Array
    axes: Array

    def place(self, geom_xpos: Array, geom_xmat: Array) -> tuple[Array, Array]:
        """Positions [n, 3] and axes [n, 3, 3] in the world, from geom poses [n, ngeom, 3] and [n, ngeom, 9]."""
        n = len(geom_xpos)
        if self.geom < 0:
            return np.tile(self.pos, (n, 1)), np.tile(self.axes, (n, 1, 1))
        turn = geom_xmat[:, self.geom].reshape(n, 3, 3)
        return geom_xpos[:, self.geom] + turn @ self.pos, turn @ self.axes


def mount(model: mujoco.MjModel, camera: CameraSpec) -> Mount:
    """Find a geom that carries a camera: one of its body's, or one of a body welded to it.

    Raises:
        UserError: there is no such body, or it has no geom.
    """
    if camera.body is None:
        return Mount(-1, np.array(camera.pos, float), camera.axes)
    body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, camera.body)
    if body < 0:
        names = [model.body(i).name for i in range(model.nbody)]
        raise UserError(f"camera '{camera.name}' sits on an unknown body '{camera.body}'{nearest(camera.body, names)}")
    carriers = np.flatnonzero(model.body_weldid[model.geom_bodyid] == model.body_weldid[body])
    if not len(carriers):
        raise UserError(f"camera '{camera.name}' sits on body '{camera.body}', which has no geom: give it one")
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    geom = int(carriers[0])
    body_axes, geom_axes = data.xmat[body].reshape(3, 3), data.geom_xmat[geom].reshape(3, 3)
    pos = data.xpos[body] + body_axes @ camera.pos
    return Mount(geom, geom_axes.T @ (pos - data.geom_xpos[geom]), geom_axes.T @ body_axes @ camera.axes)


def _vector(values: Array) -> Vector:
    x, y, z = map(float, values)
    return x, y, z
