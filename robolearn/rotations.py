"""Rotations as arrays; quaternions are (w, x, y, z), as in MuJoCo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def matrix_from_quat(quat: Array) -> Array:
    """Rotation matrices [..., 3, 3] of unit quaternions [..., 4]."""
    w, x, y, z = np.moveaxis(quat, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quat_from_matrix(rot: Array) -> Array:
    """Unit quaternions [..., 4] with w >= 0 of rotation matrices [..., 3, 3].

    Takes the largest of the four components first, so that no division is by a small number
    (Shepperd, 1978).
    """
    r = rot
    m00, m11, m22 = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    four = np.stack(
        (
            1 + m00 + m11 + m22,
            1 + m00 - m11 - m22,
            1 - m00 + m11 - m22,
            1 - m00 - m11 + m22,
        ),
        -1,
    )
    a, b, c = (
        r[..., 2, 1] - r[..., 1, 2],
        r[..., 0, 2] - r[..., 2, 0],
        r[..., 1, 0] - r[..., 0, 1],
    )
    d, e, f = (
        r[..., 0, 1] + r[..., 1, 0],
        r[..., 0, 2] + r[..., 2, 0],
        r[..., 1, 2] + r[..., 2, 1],
    )
    rows = np.stack(
        [
            np.stack((four[..., 0], a, b, c), -1),
            np.stack((a, four[..., 1], d, e), -1),
            np.stack((b, d, four[..., 2], f), -1),
            np.stack((c, e, f, four[..., 3]), -1),
        ],
        axis=-2,
    )
    best = np.argmax(four, axis=-1)[..., None, None]
    quat = np.take_along_axis(rows, best, axis=-2)[..., 0, :]
    return canonical(quat / np.linalg.norm(quat, axis=-1, keepdims=True))


def canonical(quat: Array) -> Array:
    """The same rotations with w >= 0: q and -q are one rotation, a network must see one of them."""
    return np.where(quat[..., :1] < 0, -quat, quat)


def rotation_vector(rot: Array) -> Array:
    """Axis times angle in rad [..., 3] of rotation matrices [..., 3, 3]."""
    quat = quat_from_matrix(rot)
    vec = quat[..., 1:]
    norm = np.linalg.norm(vec, axis=-1, keepdims=True)
    angle = 2 * np.arctan2(norm, quat[..., :1])
    return vec * np.where(norm > 1e-9, angle / np.maximum(norm, 1e-9), 2.0)


def quat_multiply(a: Array, b: Array) -> Array:
    """Hamilton product a b of quaternions [..., 4]: first b, then a."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        (
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ),
        axis=-1,
    )


def quat_about_z(angle: Array | float) -> Array:
    """Quaternions [..., 4] of turns about z by angles [...] in rad."""
    half = 0.5 * np.asarray(angle)
    zero = np.zeros_like(half)
    return np.stack((np.cos(half), zero, zero, np.sin(half)), axis=-1)
