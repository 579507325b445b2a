"""Compiled loops over the worlds' poses: the same numbers as NumPy's, without its cost per call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.proprioception import POSE_DIM
from robolearn.sim.jit import jit

Array = NDArray[np.float64]


def rotation_matrices(quat: Array) -> Array:
    """`robolearn.rotations.matrix_from_quat`: matrices [..., 3, 3] of unit quaternions (w, x, y, z) [..., 4]."""
    if quat.shape[-1:] != (4,):
        raise ValueError(f"quaternions have shape {quat.shape}, expected [..., 4]")
    rows = np.ascontiguousarray(quat, np.float64).reshape(-1, 4)
    matrices = np.empty((len(rows), 3, 3))
    _rotation_matrices(rows, matrices)
    return matrices.reshape(*quat.shape[:-1], 3, 3)


def write_poses(out: NDArray[np.float32], pos: Array, quat: Array, *, at: int = 0) -> None:
    """Write `robolearn.proprioception.pose_vector` of k bodies into columns of an observation.

    Args:
        out: [n, dim]; columns `at` to `at + 9 k` are written, body by body.
        pos: positions [n, k, 3] in m.
        quat: unit quaternions (w, x, y, z) [n, k, 4].
        at: first column.

    Raises:
        ValueError: the shapes do not fit together.
    """
    n, k = pos.shape[:2]
    fit = pos.shape == (n, k, 3) and quat.shape == (n, k, 4) and len(out) == n
    if not (fit and 0 <= at <= out.shape[1] - POSE_DIM * k):
        raise ValueError(f"positions {pos.shape} and quaternions {quat.shape} do not fit {out.shape} from column {at}")
    _write_poses(np.ascontiguousarray(pos, np.float64), np.ascontiguousarray(quat, np.float64), out, at)


@jit
def _rotation_matrices(quat: Array, out: Array) -> None:
    for i in range(len(quat)):
        xx, xy, xz, yx, yy, yz, zx, zy, zz = _matrix(quat[i, 0], quat[i, 1], quat[i, 2], quat[i, 3])
        out[i, 0, 0], out[i, 0, 1], out[i, 0, 2] = xx, xy, xz
        out[i, 1, 0], out[i, 1, 1], out[i, 1, 2] = yx, yy, yz
        out[i, 2, 0], out[i, 2, 1], out[i, 2, 2] = zx, zy, zz


@jit
def _write_poses(pos: Array, quat: Array, out: NDArray[np.float32], at: int) -> None:
    for i in range(pos.shape[0]):
        for b in range(pos.shape[1]):
            c = at + 9 * b
            xx, xy, _, yx, yy, _, zx, zy, _ = _matrix(quat[i, b, 0], quat[i, b, 1], quat[i, b, 2], quat[i, b, 3])
            out[i, c], out[i, c + 1], out[i, c + 2] = pos[i, b, 0], pos[i, b, 1], pos[i, b, 2]
            out[i, c + 3], out[i, c + 4], out[i, c + 5] = xx, yx, zx
            out[i, c + 6], out[i, c + 7], out[i, c + 8] = xy, yy, zy


@jit
def _matrix(w: float, x: float, y: float, z: float) -> tuple[float, ...]:
    """Rows of the rotation matrix."""
    return (
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    )
