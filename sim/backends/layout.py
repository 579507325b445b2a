"""What backends share: where robot and bodies sit in MuJoCo's arrays, and how an episode's start is written there."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.robot import RobotSpec
from robolearn.sim.homes import home_joints
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.task import Area, Start, Task

Array = NDArray[np.float64]
HOME_NOISE = 0.02  # rad, standard deviation of the arm's start around home


class Layout:
    """Addresses of a scene's parts.

    Attributes:
        arm: of the arm's joints in `qpos` [n_joints].
        arm_velocity: of the arm's joints in `qvel` [n_joints].
        fingers: of the gripper's joints in `qpos`.
        bodies: ids of the task's bodies, in the task's order.
        names: index of each of them in `bodies` by its name.
        tool: id of the site between the fingertips.
        hand: id of the body that carries it and is turned as it is.
    """

    def __init__(self, model: mujoco.MjModel, task: Task, robot: RobotSpec) -> None:
        """Look the names up in `model`.

        Raises:
            UserError: the robot cannot hold its tool where the task begins.
        """
        self._model, self._task, self._robot = model, task, robot
        self._area, self._home = Area.of(robot), home_joints(task, robot)
        joint = model.joint
        self.arm = np.array([joint(name).qposadr[0] for name in robot.joint_names])
        self.arm_velocity = np.array([joint(name).dofadr[0] for name in robot.joint_names])
        self.fingers = np.array([joint(name).qposadr[0] for name in robot.gripper_joints])
        self.bodies = np.array([model.body(name).id for name in task.bodies])
        self.names = {name: k for k, name in enumerate(task.bodies)}
        self.tool: int = model.site("tool").id
        self.hand = int(model.site_bodyid[self.tool])

    def begin(self, seed: int | np.random.Generator, *, qpos: Array, mocap_pos: Array, mocap_quat: Array) -> int:
        """Draw the start of an episode and write it into the arrays of one world at its reference pose.

        Args:
            seed: of the episode.
            qpos: generalised positions [nq], changed in place.
            mocap_pos: positions of fixtures [nmocap, 3], changed in place.
            mocap_quat: their orientations [nmocap, 4], changed in place.

        Returns:
            Which of the task's variants is asked for.
        """
        rng = np.random.default_rng(seed)
        qpos[self.arm] = self._home + HOME_NOISE * rng.standard_normal(len(self.arm))
        qpos[self.fingers] = self._robot.gripper_width / len(self.fingers)
        start: Start = self._task.place(rng, self._area)
        for name, (pos, quat) in start.poses.items():
            body = self._model.body(name)
            if (mocap := int(self._model.body_mocapid[body.id])) >= 0:
                mocap_pos[mocap], mocap_quat[mocap] = pos, quat
            else:
                at = int(self._model.jnt_qposadr[body.jntadr[0]])
                qpos[at : at + 7] = (*pos, *quat)
        for name, value in start.joints.items():
            qpos[self._model.joint(name).qposadr[0]] = value
        return start.variant

    def width(self, qpos: Array) -> Array:
        """Gripper opening [n] in m at positions [n, nq]."""
        return qpos[:, self.fingers].sum(axis=1)

    def command(self, qpos: Array) -> Array:
        """The command [n, n_joints + 1] that holds the arm at positions [n, nq]."""
        return np.concatenate((qpos[:, self.arm], self.width(qpos)[:, None]), axis=1)

    def controls(self, command: Array) -> Array:
        """Controls [..., nu] of the actuators for commands [..., n_joints + 1]."""
        fingers = len(self.fingers)
        grip = np.repeat(command[..., -1:] / fingers, fingers, axis=-1)
        return np.concatenate((command[..., :-1], grip), axis=-1)

    def half_sizes(self, geom_size: Array | None = None) -> Array:
        """`half_sizes` of the task's bodies."""
        return half_sizes(self._model, self._task.bodies, geom_size)

    def state(
        self,
        *,
        qpos: Array,
        qvel: Array,
        pos: Array,
        quat: Array,
        tool_pos: Array,
        tool_quat: Array,
        half: Array,
        variant: NDArray[np.int64],
    ) -> WorldState:
        """What predicates may look at.

        Args:
            qpos: generalised positions [n, nq].
            qvel: generalised velocities [n, nv].
            pos: positions of the task's bodies [n, n_bodies, 3], not to change any more.
            quat: their orientations [n, n_bodies, 4], likewise.
            tool_pos: position of the tool [n, 3], likewise.
            tool_quat: its orientation [n, 4], likewise.
            half: see `half_sizes` [n, n_bodies, 3].
            variant: what is asked for [n].
        """
        return WorldState(
            joints=qpos[:, self.arm],
            joint_velocities=qvel[:, self.arm_velocity],
            width=self.width(qpos),
            tool_pos=tool_pos,
            tool_quat=tool_quat,
            body_pos=pos,
            body_quat=quat,
            half=half,
            variant=variant,
            names=self.names,
        )


def half_sizes(model: mujoco.MjModel, bodies: Sequence[str], geom_size: Array | None = None) -> Array:
    """Half sizes [..., n_bodies, 3] of the geoms named like their bodies, 0 where a body has none.

    Args:
        model: the scene.
        bodies: names.
        geom_size: sizes of all geoms [..., ngeom, 3]; the model's own when None.
    """
    sizes = model.geom_size if geom_size is None else geom_size
    found = [mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_GEOM, name) for name in bodies]
    return np.where(np.array(found)[:, None] >= 0, sizes[..., found, :], 0.0)


def substeps(*, fps: int, timestep: float) -> int:
    """Physics steps of `timestep` s in a control step at `fps` Hz.

    Raises:
        UserError: they do not fit.
    """
    count = round(1 / (fps * timestep))
    if abs(count * timestep * fps - 1) > 1e-6:
        raise UserError(f"a control step of 1/{fps} s is no whole number of physics steps of {timestep} s")
    return count
