"""A software camera: pictures, depth and segmentation of MuJoCo scenes by ray casting, without GL or a display.

MuJoCo's own `mj_multiRay` casts the rays, so every geom type that can be hit by a ray can be seen. Light comes
from a small area lamp and from a sky dome; both cast shadows. `robolearn.sim.pictures` writes the images out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.cameras import look_at
from robolearn.sim.mirror import set_pose

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

VISIBLE_GROUPS = np.array((1, 1, 1, 0, 0, 0), np.uint8)  # MuJoCo's default of visible geom groups
UNSET_RGBA = np.array((0.5, 0.5, 0.5, 1.0), np.float32)  # geom_rgba where the material decides
GAMMA = 2.2  # display to linear light
FAR = 30.0  # m from the scene to the lights
OFFSET = 2e-3  # m that a surface must lie in front of a point to shade it
HORIZON, ZENITH, NADIR = np.array((0.95, 0.96, 0.97)), np.array((0.58, 0.67, 0.78)), np.array((0.77, 0.79, 0.82))
LAMP_COLOUR = np.array((1.00, 0.96, 0.90))
DOME_COLOUR = np.array((0.86, 0.93, 1.00))
BOUNCE_COLOUR = np.array((1.00, 0.95, 0.88))
LAMP, DOME, BOUNCE, GLOSS = 0.80, 0.48, 0.16, 0.10  # shares of the light
LAMPS, DOMES = 2, 6  # shadow rays per camera ray, to the lamp and to the dome
SHININESS = 40  # exponent of the highlight (Blinn, 1977)
LAMP_DIRECTION = np.array((0.35, -0.55, 1.0))
LAMP_RADIUS = 0.07  # as a share of its distance: softness of the shadows
CHECKER, CHECKER_CONTRAST, CHECKER_REACH = 0.25, 0.12, 4.0  # edge in m, share, m at which it has faded


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with the world's z axis upright in the picture.

    Attributes:
        pos: where it stands, in m.
        lookat: the point in the centre of the picture, in m.
        fovy: vertical field of view in degrees.
        width: pixels.
        height: pixels.
    """

    pos: tuple[float, float, float]
    lookat: tuple[float, float, float]
    fovy: float = 40.0
    width: int = 320
    height: int = 240

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or not 0 < self.fovy < 180:
            raise UserError("a camera needs width and height of at least 1 pixel and 0 < fovy < 180 degrees")
        if np.allclose(self.pos, self.lookat):
            raise UserError(f"the camera at {self.pos} looks at its own position: move `pos` or `lookat`")

    @property
    def axes(self) -> Array:
        """Rows right, up and forward of the camera in the world, [3, 3]."""
        return look_at(self.pos, self.lookat).T * np.array(((1.0,), (1.0,), (-1.0,)))

    def rays(self, samples: int = 1) -> Array:
        """Unit directions [height, width, samples**2, 3] through a grid of `samples` x `samples` points per pixel."""
        tan = np.tan(np.radians(self.fovy) / 2)
        u = ((np.arange(self.width * samples) + 0.5) / samples - self.width / 2) / (self.height / 2) * tan
        v = (self.height / 2 - (np.arange(self.height * samples) + 0.5) / samples) / (self.height / 2) * tan
        right, up, forward = self.axes
        rays = u[None, :, None] * right + v[:, None, None] * up + forward
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        blocks = rays.reshape(self.height, samples, self.width, samples, 3).swapaxes(1, 2)
        return blocks.reshape(self.height, self.width, samples**2, 3)


TABLETOP = Camera(pos=(1.32, -0.92, 0.62), lookat=(0.34, 0.0, 0.24), fovy=40.0)


@dataclass(frozen=True)
class Hits:
    """What the rays of a camera meet; the leading axes are those of the rays.

    Attributes:
        depth: distance along the camera's optical axis in m, inf where nothing was met.
        geom: geom id, -1 where nothing was met.
        point: [..., 3] in m; normal: [..., 3]; both 0 where nothing was met.
        rays: unit directions [..., 3].
    """

    depth: Array
    geom: NDArray[np.int32]
    point: Array
    normal: Array
    rays: Array


def trace(model: mujoco.MjModel, data: mujoco.MjData, camera: Camera, *, samples: int = 1) -> Hits:
    """Cast the rays of a camera; arrays are [height, width, samples**2, ...].

    `data` must hold the kinematics (`mj_kinematics` or `mj_forward`). Invisible geoms and groups are not seen.
    """
    rays = camera.rays(samples)
    dist, geom, normal = _cast(model, data, np.array(camera.pos, float), rays.reshape(-1, 3))
    dist, geom, normal = dist.reshape(rays.shape[:-1]), geom.reshape(rays.shape[:-1]), normal.reshape(rays.shape)
    hit = geom >= 0
    point = np.where(hit[..., None], np.array(camera.pos) + dist[..., None] * rays, 0.0)
    depth = np.where(hit, dist * (rays @ camera.axes[2]), np.inf)
    return Hits(depth, geom, point, normal, rays)


def render_depth(
    model: mujoco.MjModel, data: mujoco.MjData, camera: Camera
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return depth [height, width] in m (inf: nothing) and segmentation [height, width] (geom id, -1: nothing)."""
    hits = trace(model, data, camera)
    return hits.depth[:, :, 0].astype(np.float32), hits.geom[:, :, 0]


def render(model: mujoco.MjModel, data: mujoco.MjData, camera: Camera = TABLETOP, *, samples: int = 2) -> Image:
    """Draw the scene: uint8 [height, width, 3].

    Args:
        model: the scene.
        data: its state, with kinematics (`mj_kinematics` or `mj_forward`).
        camera: from where.
        samples: rays per pixel along each side: 1 is fast, 2 smooth, 3 for print.
    """
    if samples < 1:
        raise UserError("samples must be at least 1")
    hits = trace(model, data, camera, samples=samples)
    colour = _sky(hits.rays)
    seen = hits.geom >= 0
    light, gloss = _light(model, data, hits)
    surface = _albedo(model, data, hits, seen) * light[seen] + gloss[seen, None]
    # floors fade into the horizon
    haze = np.exp(-((np.linalg.norm(hits.point[seen] - camera.pos, axis=-1, keepdims=True) / 12.0) ** 2))
    colour[seen] = surface * haze + _sky(hits.rays[seen] * (1, 1, 0)) * (1 - haze)
    picture = np.clip(colour, 0, 1).mean(axis=2) ** (1 / GAMMA)
    return (picture * 255 + 0.5).astype(np.uint8)


def frame_indices(length: int, n_frames: int) -> NDArray[np.intp]:
    """Return at most `n_frames` evenly spread indices into a sequence, the first and the last among them."""
    if length < 1 or n_frames < 1:
        raise UserError("there are no frames to show: give a trajectory and n_frames of at least 1")
    return np.unique(np.linspace(0, length - 1, min(n_frames, length)).round().astype(np.intp))


def render_trajectory(
    model: mujoco.MjModel, poses: Array, camera: Camera = TABLETOP, *, n_frames: int = 6, samples: int = 2
) -> Image:
    """Draw evenly spread moments of a trajectory: uint8 [n, height, width, 3] with n <= n_frames.

    Args:
        model: the scene.
        poses: [T, size] of one world, as `robolearn.sim.mirror.poses` has them; the frames drawn are
            `frame_indices(T, n_frames)`.
        camera: from where.
        n_frames: pictures at most.
        samples: see `render`.
    """
    data = mujoco.MjData(model)
    frames = []
    for i in frame_indices(len(poses), n_frames):
        set_pose(model, data, poses[i])
        frames.append(render(model, data, camera, samples=samples))
    return np.stack(frames)


def geom_rgba(model: mujoco.MjModel) -> NDArray[np.float32]:
    """Colours of the geoms [ngeom, 4] in [0, 1]; the material's where the geom has none of its own."""
    rgba = model.geom_rgba.copy()
    by_material = (model.geom_matid >= 0) & np.all(rgba == UNSET_RGBA, axis=-1)
    rgba[by_material] = model.mat_rgba[model.geom_matid[by_material]]
    return rgba


def _cast(
    model: mujoco.MjModel, data: mujoco.MjData, origin: Array, rays: Array
) -> tuple[Array, NDArray[np.int32], Array]:
    """Distance [n] (in lengths of the ray, -1: nothing), geom [n] and normal [n, 3] of rays [n, 3] from one point."""
    n = len(rays)
    dist, geom, normal = np.empty(n), np.empty(n, np.int32), np.empty(3 * n)
    vec = np.ascontiguousarray(rays).ravel()
    limit = mujoco.mjMAXVAL
    mujoco.mj_multiRay(model, data, origin, vec, VISIBLE_GROUPS, True, -1, geom, dist, normal, n, limit)
    return dist, geom, normal.reshape(n, 3)


@cache
def _lights(lamps: int, domes: int) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Directions [n, 3], colours [n, 3] and "is part of the lamp" [n]: spirals of points over a disc and a dome."""
    golden = np.pi * (3 - np.sqrt(5.0))
    k = np.arange(lamps) + 0.5
    radius, turn = LAMP_RADIUS * np.sqrt(k / lamps), golden * k
    lamp = LAMP_DIRECTION / np.linalg.norm(LAMP_DIRECTION)
    side = np.cross(lamp, (0.0, 0.0, 1.0))
    side /= np.linalg.norm(side)
    disc = np.outer(np.cos(turn), side) + np.outer(np.sin(turn), np.cross(lamp, side))
    lamp_points = lamp + radius[:, None] * disc

    # dense near the zenith and weighed by 1 / height: a table gets the same from each, so no edge of a shadow shows
    k = np.arange(domes) + 0.5
    height, turn = np.sqrt(k / domes), golden * k
    flat = np.sqrt(1 - height**2)
    dome = np.stack((flat * np.cos(turn), flat * np.sin(turn), height), axis=-1)

    directions = np.concatenate((lamp_points / np.linalg.norm(lamp_points, axis=-1, keepdims=True), dome))
    shares = np.concatenate((np.full(lamps, LAMP / lamps), DOME / domes / height))
    is_lamp = np.arange(lamps + domes) < lamps
    return directions, shares[:, None] * np.where(is_lamp[:, None], LAMP_COLOUR, DOME_COLOUR), is_lamp


def _light(model: mujoco.MjModel, data: mujoco.MjData, hits: Hits) -> tuple[Array, Array]:
    """Diffuse light [..., 3] and gloss of the lamp [...] at the points that were hit.

    Each sample of a pixel sees another part of the lights, so that one pixel sees them all at no more cost
    (interleaved sampling, Keller and Heidrich, 2001).
    """
    samples = hits.geom.shape[2]
    directions, colours, is_lamp = _lights(LAMPS * samples, DOMES * samples)
    solid = model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE
    centre = data.geom_xpos[solid].mean(axis=0) if solid.any() else np.zeros(3)
    light = BOUNCE * BOUNCE_COLOUR * (0.75 - 0.25 * hits.normal[..., 2:])
    gloss = np.zeros(hits.geom.shape)
    for sample in range(samples):
        seen = hits.geom[:, :, sample] >= 0
        rows, columns = np.nonzero(seen)
        part = np.index_exp[rows, columns, sample]
        point, normal, ray = hits.point[part], hits.normal[part], hits.rays[part]
        for i in range(sample, len(directions), samples):
            cosine = _cosine_if_lit(model, data, centre + FAR * directions[i], directions[i], point, normal)
            light[part] += samples * cosine[:, None] * colours[i]
            if is_lamp[i]:
                halfway = directions[i] - ray
                shine = np.einsum("nk,nk->n", normal, halfway) / np.linalg.norm(halfway, axis=-1)
                gloss[part] += (GLOSS / LAMPS) * (cosine > 0) * np.maximum(shine, 0) ** SHININESS
    return light, gloss


def _cosine_if_lit(
    model: mujoco.MjModel, data: mujoco.MjData, light: Array, direction: Array, point: Array, normal: Array
) -> Array:
    """Cosine [n] between normals and a light's direction, 0 in shadow and on the far side."""
    cosine = np.maximum(normal @ direction, 0)
    facing = np.flatnonzero(cosine)
    ways = point[facing] - light
    dist, _, _ = _cast(model, data, light, ways)
    blocked = (dist >= 0) & ((1 - dist) * np.linalg.norm(ways, axis=-1) > OFFSET)
    cosine[facing[blocked]] = 0
    return cosine


def _albedo(model: mujoco.MjModel, data: mujoco.MjData, hits: Hits, seen: NDArray[np.bool_]) -> Array:
    """Linear colour [n, 3] of the n points that are `seen`; planes get a faint checker that fades with distance."""
    rgba = geom_rgba(model)
    geom, point, depth = hits.geom[seen], hits.point[seen], hits.depth[seen]
    colour = rgba[geom, :3].astype(float) ** GAMMA
    for plane in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE):
        on = geom == plane
        local = (point[on] - data.geom_xpos[plane]) @ data.geom_xmat[plane].reshape(3, 3)
        odd = np.floor(local[:, :2] / CHECKER).sum(axis=-1) % 2
        fade = np.exp(-((depth[on] / CHECKER_REACH) ** 2))
        colour[on] *= (1 - CHECKER_CONTRAST * fade * odd)[:, None]
    return colour


def _sky(rays: Array) -> Array:
    """Linear colour [..., 3] of the backdrop in the directions of the rays."""
    height = rays[..., 2:]
    share = np.abs(height) ** 0.6
    return (HORIZON * (1 - share) + np.where(height > 0, ZENITH, NADIR) * share) ** GAMMA
