"""The pose of a world as a plain array, to record it and to put it into MuJoCo's own data for viewers and cameras."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from robolearn.sim.vec_env import WorldBatch

Array = NDArray[np.float64]
# joints, and the fixtures that an episode's start puts somewhere: `qpos` alone leaves those where they were built
POSE = mujoco.mjtState.mjSTATE_QPOS | mujoco.mjtState.mjSTATE_MOCAP_POS | mujoco.mjtState.mjSTATE_MOCAP_QUAT


def poses(worlds: WorldBatch) -> Array:
    """Present poses [num_worlds, size] of everything, laid out as MuJoCo's state (`mj_getState`) with the bits `POSE`.

    Fields of the model that differ between worlds (`write_model`) are not part of it.
    """
    model, state, n = worlds.model, worlds.state, worlds.num_worlds
    fixtures = np.flatnonzero(model.body_mocapid >= 0)
    pos = np.repeat(model.body_pos[fixtures][None], n, axis=0)
    quat = np.repeat(model.body_quat[fixtures][None], n, axis=0)
    for name, column in state.names.items():
        mocap = model.body_mocapid[model.body(name).id]
        if mocap >= 0:
            pos[:, mocap], quat[:, mocap] = state.body_pos[:, column], state.body_quat[:, column]
    return np.concatenate((worlds.qpos, pos.reshape(n, -1), quat.reshape(n, -1)), axis=1)


def set_pose(model: mujoco.MjModel, data: mujoco.MjData, pose: Array) -> None:
    """Put `data` into one of `poses` [size], with kinematics and lights."""
    mujoco.mj_setState(model, data, pose, POSE)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_camlight(model, data)
