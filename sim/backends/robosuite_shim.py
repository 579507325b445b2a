"""Run robosuite 1.5.2 on MuJoCo 4.0: the three things that MuJoCo changed since robosuite was released."""

from __future__ import annotations

import logging
import types
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

SIZES = {  # joint type: entries in qpos, entries in qvel
    mujoco.mjtJoint.mjJNT_FREE: (7, 6),
    mujoco.mjtJoint.mjJNT_BALL: (4, 3),
    mujoco.mjtJoint.mjJNT_SLIDE: (1, 1),
    mujoco.mjtJoint.mjJNT_HINGE: (1, 1),
}


def load_robosuite() -> types.ModuleType:
    """Import robosuite, patched and quiet (its logger passes errors only).

    Raises:
        ModuleNotFoundError: robosuite is not installed.
    """
    logging.getLogger("robosuite_logs").addFilter(_errors_only)
    import robosuite
    from robosuite.controllers.parts import controller
    from robosuite.utils import binding_utils

    # `mjData.qM` went, and `mj_fullM` takes the data in its place, in another order
    binding_utils.MjData.qM = property(lambda data: data._data)
    controller.mujoco = types.SimpleNamespace(mj_fullM=_full_mass_matrix)
    # a numpy integer no longer equals an enum when it stands on the right of a comparison, as in `x in (enum,)`
    binding_utils.MjModel.get_joint_qpos_addr = _joint_qpos_address
    binding_utils.MjModel.get_joint_qvel_addr = _joint_qvel_address
    return robosuite


def _errors_only(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _full_mass_matrix(model: mujoco.MjModel, dst: NDArray[np.float64], data: mujoco.MjData) -> None:
    mujoco.mj_fullM(model, data, dst)


def _joint_qpos_address(model: Any, name: str) -> int | tuple[int, int]:
    return _address(model, name, model.jnt_qposadr, 0)


def _joint_qvel_address(model: Any, name: str) -> int | tuple[int, int]:
    return _address(model, name, model.jnt_dofadr, 1)


def _address(model: Any, name: str, addresses: NDArray[np.int32], kind: int) -> int | tuple[int, int]:
    joint = model.joint_name2id(name)
    start = int(addresses[joint])
    size = SIZES[mujoco.mjtJoint(model.jnt_type[joint])][kind]
    return start if size == 1 else (start, start + size)
