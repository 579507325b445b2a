"""Where tool and loose bodies are, from generalised positions alone: a step need not end with MuJoCo's kinematics."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.robot import RobotSpec
from robolearn.sim.kernels import ChainArrays, tool_poses

Array = NDArray[np.float64]


def all_loose(model: mujoco.MjModel, bodies: Sequence[str]) -> bool:
    """Whether each of these bodies either moves freely or is a fixture: none hangs on another."""
    return all(_address(model, name) is not None or model.body(name).mocapid[0] >= 0 for name in bodies)


class LoosePoses:
    """Poses of the tool, and of bodies that are `all_loose`."""

    def __init__(self, model: mujoco.MjModel, robot: RobotSpec, bodies: Sequence[str]) -> None:
        """Look up where they are."""
        self._chain = ChainArrays.of(robot.chain)
        self._arm = np.array([model.joint(name).qposadr[0] for name in robot.joint_names])
        self._free = [(k, at) for k, name in enumerate(bodies) if (at := _address(model, name)) is not None]
        self._fixed = [(k, at) for k, name in enumerate(bodies) if (at := int(model.body(name).mocapid[0])) >= 0]

    def tool(self, qpos: Array) -> tuple[Array, Array]:
        """Positions [n, 3] in m and quaternions [n, 4] of the tool at positions [n, nq]."""
        return tool_poses(self._chain, qpos[:, self._arm])

    def bodies(self, qpos: Array, mocap_pos: Array, mocap_quat: Array) -> tuple[Array, Array]:
        """Positions [n, k, 3] in m and quaternions [n, k, 4] of the bodies.

        Args:
            qpos: generalised positions [n, nq].
            mocap_pos: positions of fixtures [n, nmocap, 3].
            mocap_quat: their orientations [n, nmocap, 4].
        """
        count = len(self._free) + len(self._fixed)
        pos, quat = np.empty((len(qpos), count, 3)), np.empty((len(qpos), count, 4))
        for k, at in self._free:
            pos[:, k], quat[:, k] = qpos[:, at : at + 3], qpos[:, at + 3 : at + 7]
        for k, at in self._fixed:
            pos[:, k], quat[:, k] = mocap_pos[:, at], mocap_quat[:, at]
        return pos, quat


def _address(model: mujoco.MjModel, name: str) -> int | None:
    """Where in `qpos` a body's free joint is; None when it has none."""
    body = model.body(name)
    if body.jntnum[0] != 1 or model.jnt_type[body.jntadr[0]] != mujoco.mjtJoint.mjJNT_FREE:
        return None
    return int(model.jnt_qposadr[body.jntadr[0]])
