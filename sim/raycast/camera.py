"""A camera for learning: what `n` worlds look like, from the poses of their geoms."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from robolearn.errors import UserError
from robolearn.rotations import matrix_from_quat
from robolearn.sim.cameras import CameraSpec, mount
from robolearn.sim.raycast import kernels
from robolearn.sim.raycast.arrays import F32, F64, I32, U8, Paint, Shapes, View
from robolearn.sim.render import LAMP_DIRECTION, VISIBLE_GROUPS, geom_rgba

Array = NDArray[np.float64]
BACKGROUND = (0.86, 0.89, 0.92)
ENDLESS = 1e4  # m: half size of a plane without edges


@dataclass(frozen=True)
class Light:
    """One lamp far away and the light from everywhere; each array is [3], or [n, 3] with a row per world.

    Attributes:
        towards: direction towards the lamp in the world, of any length.
        lamp: the lamp's colour times its strength, about 0 to 1.
        ambient: colour times strength of the light from everywhere.
    """

    towards: ArrayLike = tuple(LAMP_DIRECTION)
    lamp: ArrayLike = (0.55, 0.54, 0.52)
    ambient: ArrayLike = (0.48, 0.49, 0.50)


DAYLIGHT = Light()


@dataclass(frozen=True)
class Images:
    """Pictures of n worlds.

    Attributes:
        rgb: [n, height, width, 3].
        depth: distance along the optical axis in m [n, height, width], inf where nothing is seen; None if not wanted.
        segmentation: geom ids [n, height, width], -1 where nothing is seen; None if not wanted.
    """

    rgb: U8
    depth: F32 | None
    segmentation: I32 | None


class RayCamera:
    """A camera that draws planes, spheres, capsules, ellipsoids, cylinders and boxes, without GL.

    Each pixel shows the surface that its central ray meets first; a geom that holds the camera inside itself, and what
    is nearer than 1 cm, is not seen. Geoms are opaque, or invisible at alpha 0. The result depends neither on the
    number of worlds nor on the threads. The first picture after an installation takes seconds more: the loops are
    compiled.
    """

    def __init__(self, model: mujoco.MjModel, camera: CameraSpec, width: int, height: int, *, threads: int = 1) -> None:
        """Prepare a camera.

        Args:
            model: the scene; geom groups 0 to 2 are seen, as MuJoCo has it.
            camera: where it stands.
            width: pixels.
            height: pixels.
            threads: CPU threads over which worlds are spread.

        Raises:
            UserError: the scene shows a geom that is no primitive shape, or the camera's body is unknown.
        """
        if width < 1 or height < 1 or threads < 1:
            raise UserError("a camera needs a width and a height of at least 1 pixel, and at least 1 thread")
        self.spec, self.width, self.height = camera, width, height
        self._mount = mount(model, camera)
        self._pitch = 2 * float(np.tan(np.radians(camera.fovy) / 2)) / height
        self._rgba = geom_rgba(model)
        self._shapes = _shapes(_kinds(model, self._rgba), model.geom_size[None])
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def render(
        self,
        geom_xpos: Array,
        geom_xmat: Array,
        *,
        depth: bool = False,
        segmentation: bool = False,
        rgba: NDArray[np.floating] | None = None,
        size: NDArray[np.floating] | None = None,
        light: Light = DAYLIGHT,
        background: ArrayLike = BACKGROUND,
        shift: ArrayLike = (0.0, 0.0, 0.0),
        turn: ArrayLike = (0.0, 0.0, 0.0),
        shadows: bool = False,
    ) -> Images:
        """Draw n worlds. What may differ between worlds is one value for all, or has a leading axis n.

        Args:
            geom_xpos: MuJoCo's geom positions [n, ngeom, 3] in m.
            geom_xmat: MuJoCo's geom orientations [n, ngeom, 9] or [n, ngeom, 3, 3].
            depth: whether depth is wanted.
            segmentation: whether segmentation is wanted.
            rgba: colours of the geoms in [0, 1], [ngeom, 4] or [n, ngeom, 4]; the model's when None.
            size: MuJoCo's sizes of the geoms, [ngeom, 3] or [n, ngeom, 3]; the model's when None.
            light: lamp and ambient light.
            background: colour [3] or [n, 3] in [0, 1] where nothing is seen.
            shift: displacement of the camera in its own frame (right, up, back), [3] or [n, 3] in m.
            turn: rotation vector of the camera in its own frame, [3] or [n, 3] in rad.
            shadows: whether the lamp casts hard shadows; about ten times slower.

        Raises:
            ValueError: an array has another shape.
        """
        n, ngeom = len(geom_xpos), len(self._rgba)
        xpos = _rows(geom_xpos, "geom_xpos", (ngeom, 3), n)
        xmat = _rows(np.reshape(geom_xmat, (len(geom_xmat), -1)), "geom_xmat", (9 * ngeom,), n).reshape(-1, ngeom, 9)
        if len(xpos) != n or len(xmat) != n:
            raise ValueError(f"{len(xpos)} worlds of positions, {len(xmat)} of orientations: give a world axis to both")
        towards = _rows(light.towards, "light.towards", (3,), n)
        paint = Paint(
            rgba=_rows(self._rgba if rgba is None else rgba, "rgba", (ngeom, 4), n).astype(np.float32),
            towards=towards / np.linalg.norm(towards, axis=-1, keepdims=True),
            lamp=_rows(light.lamp, "light.lamp", (3,), n),
            ambient=_rows(light.ambient, "light.ambient", (3,), n),
            background=_rows(background, "background", (3,), n),
            shadows=shadows,
        )
        shapes = self._shapes if size is None else _shapes(self._shapes.kind, _rows(size, "size", (ngeom, 3), n))
        view = self._view(xpos, xmat, _rows(shift, "shift", (3,), n), _rows(turn, "turn", (3,), n))
        rgb, metres, geoms = self._empty(n, depth=depth, segmentation=segmentation)
        self._divide(n, lambda a, b: kernels.draw_worlds(a, b, xpos, xmat, shapes, view, paint, rgb, metres, geoms))
        return Images(rgb, metres if depth else None, geoms if segmentation else None)

    def _view(self, xpos: F64, xmat: F64, shift: F64, turn: F64) -> View:
        eye, axes = self._mount.place(xpos, xmat)
        eye = eye + (axes @ shift[:, :, None])[:, :, 0]
        return View(eye, np.ascontiguousarray(axes @ _rotations(turn)), self._pitch)

    def _empty(self, n: int, *, depth: bool, segmentation: bool) -> tuple[U8, F32, I32]:
        size = self.height, self.width
        return (
            np.empty((n, *size, 3), np.uint8),
            np.empty((n if depth else 0, *size), np.float32),
            np.empty((n if segmentation else 0, *size), np.int32),
        )

    def _divide(self, n: int, draw: Callable[[int, int], None]) -> None:
        """Call `draw(first, last)` for n worlds, a share per thread."""
        if self._pool is None:
            draw(0, n)
            return
        edges = np.linspace(0, n, self._threads + 1).astype(int).tolist()
        for job in [self._pool.submit(draw, a, b) for a, b in pairwise(edges)]:
            job.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def _rotations(vectors: F64) -> F64:
    """Rotation matrices [n, 3, 3] of rotation vectors [n, 3]."""
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    half_sine = 0.5 * np.sinc(angle / (2 * np.pi))  # sin(angle / 2) / angle, also at 0
    return matrix_from_quat(np.concatenate((np.cos(angle / 2), half_sine * vectors), axis=-1))


def _rows(value: ArrayLike, name: str, shape: tuple[int, ...], n: int) -> F64:
    """An array [1 or n, *shape] of one value for all worlds or one per world."""
    rows = np.ascontiguousarray(value, np.float64)
    rows = rows[None] if rows.shape == shape else rows
    if rows.shape not in ((1, *shape), (n, *shape)):
        raise ValueError(f"{name} has shape {rows.shape}, expected {shape} or {(n, *shape)}")
    return rows


def _kinds(model: mujoco.MjModel, rgba: F32) -> I32:
    """The geoms' types [ngeom], `HIDDEN` where a geom is not seen."""
    kinds = np.where((VISIBLE_GROUPS[model.geom_group] == 1) & (rgba[:, 3] > 0), model.geom_type, kernels.HIDDEN)
    for geom in np.flatnonzero(~np.isin(kinds, (*kernels.KINDS, kernels.HIDDEN))):
        name = model.geom(geom).name or f"{geom} of body '{model.body(model.geom_bodyid[geom]).name}'"
        raise UserError(
            f"geom {name} is a {mujoco.mjtGeom(kinds[geom]).name[7:].lower()}, which the ray-cast camera cannot draw: "
            "use the GL camera (`robolearn.sim.gl_camera`), or put the geom into a hidden group"
        )
    return kinds.astype(np.int32)


def _shapes(kinds: I32, size: F64) -> Shapes:
    """Shapes of geoms of these types [ngeom] and sizes [1 or n, ngeom, 3]."""
    radius, half_length = size[..., :1], size[..., 1:2]
    plane, sphere, capsule, ellipsoid, cylinder, box = (kinds[:, None] == kind for kind in kernels.KINDS)
    area = np.where(size > 0, size, ENDLESS) * (1, 1, 0)
    spread = np.select((box, plane, capsule | cylinder), (size, area, half_length * (0, 0, 1)), 0.0)
    roundness = np.select((sphere | capsule, cylinder, ellipsoid), (radius * (1, 1, 1), radius * (1, 1, 0), size), 0.0)
    return Shapes(kinds, size.astype(np.float32), spread, roundness)
