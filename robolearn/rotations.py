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


def quat_about_z(angle: Array | float) -> Array:
    """Quaternions [..., 4] of turns about z by angles [...] in rad."""
    half = 0.5 * np.asarray(angle)
    zero = np.zeros_like(half)
    return np.stack((np.cos(half), zero, zero, np.sin(half)), axis=-1)


def quat_from_vector(vector: Array) -> Array:
    """Quaternions [..., 4] of rotation vectors [..., 3] in rad."""
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    half_sinc = 0.5 * np.sinc(angle / (2 * np.pi))  # sin(angle / 2) / angle, also at 0
    return np.concatenate((np.cos(angle / 2), half_sinc * vector), axis=-1)
