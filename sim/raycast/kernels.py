"""Compiled loops of the ray-cast camera: the nearest surface in every pixel, found geom by geom.

The pixel at (x, y) of the picture plane one metre ahead looks along (x, y, -1) in the camera's frame (x right, y up, as
in MuJoCo and OpenGL), so that the ray's parameter is the depth along the optical axis. Each geom is drawn into the
rectangle of pixels that can see it. In the geom's frame, point and direction of the rays are linear in x and y, and
the intersections are formulas without branches (`_sphere`, `_box`, ...), which become vector instructions.

The compiled code is kept with this file's date, hence all of it is in one file; see `robolearn.jit`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from robolearn.jit import jit
from robolearn.sim.raycast.arrays import F32, F64, I32, U8, Paint, Shapes, Sight, View, Work

PLANE, SPHERE, CAPSULE, ELLIPSOID, CYLINDER, BOX = 0, 2, 3, 4, 5, 6  # mjtGeom
KINDS = (PLANE, SPHERE, CAPSULE, ELLIPSOID, CYLINDER, BOX)
HIDDEN = -1  # kind of a geom that is not drawn
LANES = 16  # pixels in a vector instruction; rows are worked on in multiples of it
NEAR = np.float32(0.01)  # m: what is nearer to the camera is not drawn
BIAS = np.float32(1e-4)  # m that a geom must lie in front of a point to shade it
BACK = np.float32(0.3)  # share of the lamp that a surface facing away from it misses of the ambient light
NOTHING = np.float32(np.inf)
ZERO, ONE, TINY = np.float32(0), np.float32(1), np.float32(1e-12)


@jit
def draw_worlds(
    first: int,
    last: int,
    xpos: F64,
    xmat: F64,
    shapes: Shapes,
    view: View,
    paint: Paint,
    rgb: U8,
    depth: F32,
    segmentation: I32,
) -> None:
    """Draw worlds `first` to `last` - 1 of n.

    Geom poses [n, ngeom, 3] and [n, ngeom, 9] go in, pictures [n, height, width, ...] come out. A `depth` or
    `segmentation` of length 0 is not wanted.
    """
    height, width = rgb.shape[1], rgb.shape[2]
    ngeom = len(shapes.kind)
    work = _make_work(height, width, view.pitch)
    rays = np.empty((6, 3))
    base, gain = np.empty((3, ngeom + 1), np.float32), np.empty((3, ngeom + 1), np.float32)
    for world in range(first, last):
        rgba, sized = paint.rgba[world % len(paint.rgba)], world % len(shapes.size)
        work.depth[:], work.cosine[:], work.geom[:] = NOTHING, ZERO, ngeom
        for geom in range(ngeom):
            if shapes.kind[geom] != HIDDEN and rgba[geom, 3] > 0:
                sight = _see(world, geom, xpos, xmat, shapes, view, paint, rays)
                spread, roundness = shapes.spread[sized, geom], shapes.roundness[sized, geom]
                _draw(sight, _window(sight, spread, roundness, view.pitch, height, width), view.pitch, work)
        if paint.shadows:
            for geom in range(ngeom):
                if shapes.kind[geom] > PLANE and rgba[geom, 3] > 0:
                    _shade(_see(world, geom, xpos, xmat, shapes, view, paint, rays), view.pitch, work)
        _mix(rgba, paint, world, base, gain)
        _develop(base, gain, work, rgb[world])
        if len(depth):
            _measure(work.depth, depth[world])
        if len(segmentation):
            _name(work.geom, ngeom, segmentation[world])


@jit
def _make_work(height: int, width: int, pitch: float) -> Work:
    padded = (width + LANES - 1) // LANES * LANES
    xs = np.empty(padded, np.float32)
    for j in range(padded):
        xs[j] = (j + 0.5 - 0.5 * width) * pitch
    return Work(
        np.empty((height, padded), np.float32),
        np.empty((height, padded), np.float32),
        np.empty((height, padded), np.int32),
        xs,
        np.empty(padded, np.float32),
        np.empty(padded, np.float32),
        np.empty(padded, np.float32),
    )


# ---------------------------------------------------------------- from the camera to a geom


@jit
def _see(world: int, geom: int, xpos: F64, xmat: F64, shapes: Shapes, view: View, paint: Paint, rays: F64) -> Sight:
    """Look at a geom; `rays` [6, 3] is written to."""
    eye, axes, pos, mat = view.eye[world], view.axes[world], xpos[world, geom], xmat[world, geom]
    towards = paint.towards[world % len(paint.towards)]
    depth = 0.0
    for k in range(3):
        depth -= (pos[k] - eye[k]) * axes[k, 2]
    for k in range(3):
        to_eye, right, up, back = 0.0, 0.0, 0.0, 0.0
        for w in range(3):
            m = mat[3 * w + k]
            to_eye += m * (eye[w] - pos[w])
            right += m * axes[w, 0]
            up += m * axes[w, 1]
            back += m * axes[w, 2]
        rays[0, k], rays[1, k], rays[2, k] = to_eye - depth * back, depth * right, depth * up
        rays[3, k], rays[4, k], rays[5, k] = -back, right, up
    lamp = (
        np.float32(mat[0] * towards[0] + mat[3] * towards[1] + mat[6] * towards[2]),
        np.float32(mat[1] * towards[0] + mat[4] * towards[1] + mat[7] * towards[2]),
        np.float32(mat[2] * towards[0] + mat[5] * towards[1] + mat[8] * towards[2]),
    )
    return Sight(geom, shapes.kind[geom], shapes.size[world % len(shapes.size), geom], depth, rays, lamp)


@jit
def _window(sight: Sight, spread: F64, roundness: F64, pitch: float, height: int, width: int) -> Any:
    """The rows and columns that can see a geom: (top, bottom, left, right), the second and fourth exclusive.

    Seen from the camera, an ellipsoid with centre c and semi-axes B has the outline whose dual conic is c c' - B B';
    its extremes solve a quadratic equation (Hartley and Zisserman, Multiple View Geometry, 2003, section 8.3).
    """
    nothing, everything = (0, 0, 0, 0), (0, height, 0, width)
    middle, right, up, forward = sight.rays[0], sight.rays[4], sight.rays[5], sight.rays[3]
    xx, yy, zz, xz, yz = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(3):
        q = roundness[k] * roundness[k]
        xx, yy, zz = xx + q * right[k] * right[k], yy + q * up[k] * up[k], zz + q * forward[k] * forward[k]
        xz, yz = xz + q * right[k] * forward[k], yz + q * up[k] * forward[k]
    edge_x, edge_y = 0.5 * width * pitch, 0.5 * height * pitch  # of the picture plane one metre ahead
    low_x, high_x, low_y, high_y = np.inf, -np.inf, np.inf, -np.inf
    nearest, farthest, in_left, in_right, in_low, in_high = np.inf, -np.inf, -np.inf, -np.inf, -np.inf, -np.inf
    for corner in range(8):
        x, y, z = 0.0, 0.0, sight.depth
        twice = False
        for k in range(3):
            upper = (corner >> k) & 1 == 1
            if upper and spread[k] == 0:
                twice = True
            offset = (spread[k] if upper else -spread[k]) if spread[k] > 0 else 0.0
            x += (offset - middle[k]) * right[k]
            y += (offset - middle[k]) * up[k]
            z += offset * forward[k]
        if twice:
            continue
        nearest, farthest = min(nearest, z), max(farthest, z)
        in_left, in_right = max(in_left, edge_x * z + x), max(in_right, edge_x * z - x)
        in_low, in_high = max(in_low, edge_y * z + y), max(in_high, edge_y * z - y)
        low, high = _extremes(x, z, xx, xz, zz)
        low_x, high_x = min(low_x, low), max(high_x, high)
        low, high = _extremes(y, z, yy, yz, zz)
        low_y, high_y = min(low_y, low), max(high_y, high)
    reach = math.sqrt(zz)
    if farthest + reach < NEAR:
        return nothing
    # outside of the pyramid that the picture spans
    if min(in_left + _reach(edge_x, xx, xz, zz), in_right + _reach(edge_x, xx, -xz, zz)) < 0:
        return nothing
    if min(in_low + _reach(edge_y, yy, yz, zz), in_high + _reach(edge_y, yy, -yz, zz)) < 0:
        return nothing
    # an outline that reaches behind the camera, or a pose that is not finite, has no extremes
    if not (nearest - reach > 0.1 * NEAR and high_x - low_x < np.inf and high_y - low_y < np.inf):
        return everything
    return (
        _clip(0.5 * height - high_y / pitch, height),
        _clip(0.5 * height - low_y / pitch + 1, height),
        _clip(0.5 * width + low_x / pitch, width),
        _clip(0.5 * width + high_x / pitch + 1, width),
    )


@jit
def _reach(edge: float, xx: float, xz: float, zz: float) -> float:
    """How far an ellipsoid with the scatter xx, xz, zz reaches from its centre along (1, edge)."""
    return math.sqrt(max(xx + 2 * edge * xz + edge * edge * zz, 0.0))


@jit
def _extremes(x: float, z: float, xx: float, xz: float, zz: float) -> Any:
    middle, scale = x * z - xz, z * z - zz
    half = math.sqrt(max(middle * middle - (x * x - xx) * scale, 0.0))
    return (middle - half) / scale, (middle + half) / scale


@jit
def _clip(pixel: float, size: int) -> int:
    return int(min(max(pixel, 0.0), float(size)))


# ---------------------------------------------------------------- drawing


@jit
def _draw(sight: Sight, window: Any, pitch: float, work: Work) -> None:
    """Draw a geom into its window where nothing nearer is yet."""
    top, bottom, left, right = window
    start = left // LANES * LANES
    stop = start + (right - start + LANES - 1) // LANES * LANES
    shift, this = np.float32(sight.depth), np.int32(sight.geom)
    work.moved[:] = ZERO
    moved, xs, t, facing = work.moved[start:stop], work.xs[start:stop], work.along[start:stop], work.facing[start:stop]
    for i in range(top, bottom):
        base, way = _row(sight.rays, (0.5 * len(work.depth) - 0.5 - i) * pitch)
        _meet(sight, base, way, way, xs, moved, t, facing)
        depth, cosine, geoms = work.depth[i, start:stop], work.cosine[i, start:stop], work.geom[i, start:stop]
        for j in range(len(t)):
            new = t[j] + shift
            nearer = (new > NEAR) & (new < depth[j])
            depth[j] = new if nearer else depth[j]
            cosine[j] = facing[j] if nearer else cosine[j]
            geoms[j] = this if nearer else geoms[j]


@jit
def _shade(sight: Sight, pitch: float, work: Work) -> None:
    """Take the lamp's light from the points that a geom shades."""
    shift, this = np.float32(sight.depth), np.int32(sight.geom)
    aim = (sight.lamp, (ZERO, ZERO, ZERO))
    t, moved = work.along, work.moved
    for i in range(len(work.depth)):
        base, way = _row(sight.rays, (0.5 * len(work.depth) - 0.5 - i) * pitch)
        depth, cosine, geoms = work.depth[i], work.cosine[i], work.geom[i]
        for j in range(len(t)):
            moved[j] = depth[j] - shift if depth[j] < NOTHING else ZERO
        _meet(sight, base, way, aim, work.xs, moved, t, work.facing)
        for j in range(len(t)):
            shaded = (t[j] > BIAS) & (t[j] < NOTHING) & (geoms[j] != this)
            cosine[j] = min(cosine[j], ZERO) if shaded else cosine[j]


@jit
def _row(rays: F64, y: float) -> Any:
    """Constant and slope in x of the rays' points and of their directions in row y: ((p, q), (d, e))."""
    return (
        (_sum(rays[0], y, rays[2]), _vector(rays[1])),
        (_sum(rays[3], y, rays[5]), _vector(rays[4])),
    )


@jit
def _sum(a: F64, y: float, b: F64) -> Any:
    return np.float32(a[0] + y * b[0]), np.float32(a[1] + y * b[1]), np.float32(a[2] + y * b[2])


@jit
def _vector(a: F64) -> Any:
    return np.float32(a[0]), np.float32(a[1]), np.float32(a[2])


@jit
def _start(base: Any, way: Any, x: Any, moved: Any) -> Any:
    return _at(_at(base[0], base[1], x), _at(way[0], way[1], x), moved)


@jit
def _meet(sight: Sight, base: Any, way: Any, aim: Any, xs: F32, moved: F32, t: F32, facing: F32) -> None:
    """Write where the rays of a row enter a geom, and the cosine between its surface there and the lamp.

    The ray of pixel x starts `moved` along `way` from `base` and goes along `aim`; each is (constant, slope in x).
    """
    kind, s, lamp = sight.kind, (sight.size[0], sight.size[1], sight.size[2]), sight.lamp
    if kind == BOX:
        for j in range(len(t)):
            t[j], facing[j] = _box(_start(base, way, xs[j], moved[j]), _at(aim[0], aim[1], xs[j]), s, lamp)
    elif kind == CAPSULE:
        for j in range(len(t)):
            t[j], facing[j] = _capsule(_start(base, way, xs[j], moved[j]), _at(aim[0], aim[1], xs[j]), s, lamp)
    elif kind == CYLINDER:
        for j in range(len(t)):
            t[j], facing[j] = _cylinder(_start(base, way, xs[j], moved[j]), _at(aim[0], aim[1], xs[j]), s, lamp)
    elif kind == SPHERE:
        for j in range(len(t)):
            t[j], facing[j] = _sphere(_start(base, way, xs[j], moved[j]), _at(aim[0], aim[1], xs[j]), s, lamp)
    elif kind == ELLIPSOID:
        for j in range(len(t)):
            t[j], facing[j] = _ellipsoid(_start(base, way, xs[j], moved[j]), _at(aim[0], aim[1], xs[j]), s, lamp)
    else:
        for j in range(len(t)):
            t[j], facing[j] = _plane(_start(base, way, xs[j], moved[j]), _at(aim[0], aim[1], xs[j]), s, lamp)


@jit
def _mix(rgba: F32, paint: Paint, world: int, base: F32, gain: F32) -> None:
    """Write each geom's brightness [3, ngeom + 1] in the ambient light and in the lamp's, then the background's."""
    lamp = paint.lamp[world % len(paint.lamp)]
    ambient = paint.ambient[world % len(paint.ambient)]
    background = paint.background[world % len(paint.background)]
    for k in range(3):
        for geom in range(len(rgba)):
            base[k, geom], gain[k, geom] = 255 * rgba[geom, k] * ambient[k], 255 * rgba[geom, k] * lamp[k]
        base[k, len(rgba)], gain[k, len(rgba)] = 255 * background[k], 0


@jit
def _develop(base: F32, gain: F32, work: Work, rgb: U8) -> None:
    """Write the picture: ambient light and Lambert's law; surfaces facing away get darker as they turn."""
    base_r, base_g, base_b = base
    gain_r, gain_g, gain_b = gain
    for i in range(rgb.shape[0]):
        cosine, geoms, out = work.cosine[i], work.geom[i], rgb[i]
        for j in range(rgb.shape[1]):
            lit, g = max(cosine[j], BACK * cosine[j]), geoms[j]
            out[j, 0] = _byte(base_r[g] + gain_r[g] * lit)
            out[j, 1] = _byte(base_g[g] + gain_g[g] * lit)
            out[j, 2] = _byte(base_b[g] + gain_b[g] * lit)


@jit
def _byte(value: Any) -> Any:
    return np.uint8(np.int32(min(max(value, ZERO), np.float32(255)) + np.float32(0.5)))


@jit
def _measure(depth: F32, out: F32) -> None:
    """Write the depth without the padding."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = depth[i, j]


@jit
def _name(geoms: I32, ngeom: int, out: I32) -> None:
    """Write the geom ids, -1 where there is none."""
    none = np.int32(ngeom)
    for i in range(out.shape[0]):
        seen, row = geoms[i], out[i]
        for j in range(out.shape[1]):
            row[j] = seen[j] if seen[j] < none else np.int32(-1)


# ---------------------------------------------------------------- intersections
#
# Each takes a point p and a direction d (of any length) of a ray, the geom's size and a unit vector to the lamp, all in
# the geom's frame, and returns the parameter t of the first point p + t d on its surface, `NOTHING` where there is
# none, and the cosine between the outward normal there and the lamp. Only surfaces that face the ray count.


@jit
def _sphere(p: Any, d: Any, size: Any, lamp: Any) -> Any:
    a, b, c = _dot(d, d), _dot(p, d), _dot(p, p) - size[0] * size[0]
    hit, t, _ = _roots(a, b, c)
    return t if hit else NOTHING, _dot(_at(p, d, t), lamp) / size[0]


@jit
def _ellipsoid(p: Any, d: Any, size: Any, lamp: Any) -> Any:
    q, e = _over(p, size), _over(d, size)  # the unit sphere
    hit, t, _ = _roots(_dot(e, e), _dot(q, e), _dot(q, q) - ONE)
    normal = _over(_at(q, e, t), size)
    return t if hit else NOTHING, _dot(normal, lamp) / math.sqrt(max(_dot(normal, normal), TINY))


@jit
def _capsule(p: Any, d: Any, size: Any, lamp: Any) -> Any:
    r, half = size[0], size[1]
    a, b, c = d[0] * d[0] + d[1] * d[1], p[0] * d[0] + p[1] * d[1], p[0] * p[0] + p[1] * p[1] - r * r
    on_side, side, _ = _roots(max(a, TINY), b, c)
    z = p[2] + side * d[2]
    end = min(max(z, -half), half)  # beyond a rim: the ball there
    q = (p[0], p[1], p[2] - end)
    on_ball, ball, _ = _roots(a + d[2] * d[2], b + q[2] * d[2], c + q[2] * q[2])
    t = side if z == end else ball
    hit = on_side & (on_ball | (z == end))
    return t if hit else NOTHING, _dot(_at(q, d, t), lamp) / r


@jit
def _cylinder(p: Any, d: Any, size: Any, lamp: Any) -> Any:
    r, half = size[0], size[1]
    a, b, c = d[0] * d[0] + d[1] * d[1], p[0] * d[0] + p[1] * d[1], p[0] * p[0] + p[1] * p[1] - r * r
    hit, side, far_side = _roots(max(a, TINY), b, c)
    lid, far_lid = _slab(p[2], d[2], half)
    t = max(side, lid)
    hit &= t <= min(far_side, far_lid)
    x, y = p[0] + t * d[0], p[1] + t * d[1]
    on_lid = -lamp[2] if d[2] > ZERO else lamp[2]
    return t if hit else NOTHING, on_lid if lid > side else (x * lamp[0] + y * lamp[1]) / r


@jit
def _box(p: Any, d: Any, size: Any, lamp: Any) -> Any:
    x, far_x = _slab(p[0], d[0], size[0])
    y, far_y = _slab(p[1], d[1], size[1])
    z, far_z = _slab(p[2], d[2], size[2])
    t = max(x, max(y, z))
    hit = t <= min(far_x, min(far_y, far_z))
    on_x = -lamp[0] if d[0] > ZERO else lamp[0]
    on_y = -lamp[1] if d[1] > ZERO else lamp[1]
    on_z = -lamp[2] if d[2] > ZERO else lamp[2]
    return t if hit else NOTHING, on_x if t == x else (on_y if t == y else on_z)


@jit
def _plane(p: Any, d: Any, size: Any, lamp: Any) -> Any:
    """Seen from above only; a size of 0 is endless, as MuJoCo has it."""
    t = -p[2] / min(d[2], -TINY)
    x, y = abs(p[0] + t * d[0]), abs(p[1] + t * d[1])
    hit = (d[2] < ZERO) & ((size[0] <= ZERO) | (x <= size[0])) & ((size[1] <= ZERO) | (y <= size[1]))
    return t if hit else NOTHING, lamp[2]


@jit
def _roots(a: Any, b: Any, c: Any) -> Any:
    """Whether a t^2 + 2 b t + c = 0 with a > 0 has two roots, and the roots in order."""
    square = b * b - a * c
    root = math.sqrt(max(square, ZERO))
    return square > ZERO, (-b - root) / a, (-b + root) / a


@jit
def _slab(p: Any, d: Any, half: Any) -> Any:
    """Where a ray enters and leaves the space between the planes at -half and half."""
    inverse = ONE / (d if abs(d) > TINY else TINY)
    middle, reach = -p * inverse, half * abs(inverse)
    return middle - reach, middle + reach


@jit
def _dot(a: Any, b: Any) -> Any:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@jit
def _at(p: Any, d: Any, t: Any) -> Any:
    return p[0] + t * d[0], p[1] + t * d[1], p[2] + t * d[2]


@jit
def _over(a: Any, b: Any) -> Any:
    return a[0] / b[0], a[1] / b[1], a[2] / b[2]
