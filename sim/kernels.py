"""Compiled loops over the worlds' poses: the same numbers as NumPy's, without its cost per call."""

from __future__ import annotations

from math import cos, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.jit import jit
from robolearn.proprioception import POSE_DIM
from robolearn.robot import Chain

Array = NDArray[np.float64]


class ChainArrays(NamedTuple):
    """A `robolearn.robot.Chain` of n joints, the tool as its last link: pos [n + 1, 3] and unit quat [n + 1, 4]."""

    pos: Array
    quat: Array

    @classmethod
    def of(cls, chain: Chain) -> ChainArrays:
        """Copy a chain."""
        return cls(np.array((*chain.pos, chain.tool_pos)), np.array((*chain.quat, chain.tool_quat)))


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


def tool_poses(chain: ChainArrays, joints: Array) -> tuple[Array, Array]:
    """The tool of `robolearn.robot.Chain.forward`: positions [n, 3] in m and unit quaternions (w, x, y, z) [n, 4].

    Args:
        chain: see `ChainArrays`.
        joints: rad [n, n_joints].
    """
    if joints.shape[1:] != (len(chain.pos) - 1,):
        raise ValueError(f"joints have shape {joints.shape}, expected [n, {len(chain.pos) - 1}]")
    pos, quat = np.empty((len(joints), 3)), np.empty((len(joints), 4))
    _tool_poses(chain.pos, chain.quat, np.ascontiguousarray(joints, np.float64), pos, quat)
    return pos, quat


@jit
def _tool_poses(pos: Array, quat: Array, joints: Array, out_pos: Array, out_quat: Array) -> None:
    links, n = len(pos), len(pos) - 1
    for i in range(len(joints)):
        w, x, y, z = 1.0, 0.0, 0.0, 0.0
        px, py, pz = 0.0, 0.0, 0.0
        for k in range(links):
            xx, xy, xz, yx, yy, yz, zx, zy, zz = _matrix(w, x, y, z)
            a, b, c = pos[k, 0], pos[k, 1], pos[k, 2]
            px, py, pz = px + xx * a + xy * b + xz * c, py + yx * a + yy * b + yz * c, pz + zx * a + zy * b + zz * c
            w, x, y, z = _product(w, x, y, z, quat[k, 0], quat[k, 1], quat[k, 2], quat[k, 3])
            if k < n:
                half = 0.5 * joints[i, k]
                w, x, y, z = _product(w, x, y, z, cos(half), 0.0, 0.0, sin(half))
        out_pos[i, 0], out_pos[i, 1], out_pos[i, 2] = px, py, pz
        out_quat[i, 0], out_quat[i, 1], out_quat[i, 2], out_quat[i, 3] = w, x, y, z


@jit
def _product(
    aw: float, ax: float, ay: float, az: float, bw: float, bx: float, by: float, bz: float
) -> tuple[float, float, float, float]:
    """Product of two quaternions."""
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


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
