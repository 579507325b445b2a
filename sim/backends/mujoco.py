"""CPU backend: many worlds on MuJoCo's own thread pool, every physics step of a control step in C."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.robot import RobotSpec
from robolearn.sim.robots import get_robot
from robolearn.sim.scene import build_model
from robolearn.sim.state import WorldState
from robolearn.sim.tasks import make_task
from robolearn.sim.tasks.task import Area, Start, Task
from robolearn.sim.vec_env import RobotVecEnv

Array = NDArray[np.float64]
CTRL = int(mujoco.mjtState.mjSTATE_CTRL)
HOME_NOISE = 0.02  # rad, standard deviation of the arm's start around home


class Worlds:
    """`num_worlds` copies of one scene: joint commands in, `WorldState` out. Knows no policy and no reward.

    A command is [n_joints + 1]: joint positions in rad, then the gripper width in m.
    """

    def __init__(
        self, task: Task, robot: RobotSpec, *, num_worlds: int = 1, threads: int = 1, timestep: float = 0.005
    ) -> None:
        """Compile the scene; `threads` step the worlds, `timestep` is the physics step in s."""
        if num_worlds < 1 or threads < 1:
            raise UserError("num_envs and threads must be at least 1")
        self.task, self.robot, self.num_worlds = task, robot, num_worlds
        self.model = build_model(task, robot, timestep=timestep)
        self.variant: NDArray[np.int64] = np.zeros(num_worlds, np.int64)
        self._area = Area.of(robot)
        self._batch = Batch(self.model, nsim=num_worlds, nthread=threads)
        self.qpos: Array = self._batch.bind("qpos")
        self._qvel: Array = self._batch.bind("qvel")
        self._ctrl: Array = self._batch.bind("ctrl")
        self._wrench: Array = self._batch.bind("xfrc_applied")
        self._pos: Array = self._batch.bind("xpos")
        self._quat: Array = self._batch.bind("xquat")
        tool = self.model.site("tool").id
        self._tool_pos: Array = self._batch.bind("site_xpos")[:, tool]
        self._tool_quat: Array = self._batch.bind("site_xquat")[:, tool]
        joint = self.model.joint
        self._arm = np.array([joint(name).qposadr[0] for name in robot.joint_names])
        self._arm_velocity = np.array([joint(name).dofadr[0] for name in robot.joint_names])
        self._fingers = np.array([joint(name).qposadr[0] for name in robot.gripper_joints])
        self._bodies = np.array([self.model.body(name).id for name in task.bodies])
        self._names = {name: k for k, name in enumerate(task.bodies)}
        self._half: Array = np.repeat(half_sizes(self.model, task.bodies)[None], num_worlds, axis=0)

    def reset(self, seeds: Sequence[int | np.random.Generator], ids: NDArray[np.intp] | None = None) -> None:
        """Start an episode in worlds `ids` (all when None), one seed or generator each."""
        chosen = np.arange(self.num_worlds) if ids is None else ids
        self._batch.reset(chosen, stage=mujoco.mjtStage.mjSTAGE_NONE)
        for i, seed in zip(chosen, seeds, strict=True):
            rng = np.random.default_rng(seed)
            self.qpos[i, self._arm] = np.array(self.robot.home) + HOME_NOISE * rng.standard_normal(self.robot.n_joints)
            self.qpos[i, self._fingers] = self.robot.gripper_width / len(self._fingers)
            self._place(i, self.task.place(rng, self._area))
        self._ctrl[chosen] = self._controls(self.command_here()[chosen])
        self._batch.forward(chosen, stage=mujoco.mjtStage.mjSTAGE_POS)

    def _place(self, world: int, start: Start) -> None:
        self.variant[world] = start.variant
        for name, (pos, quat) in start.poses.items():
            body = self.model.body(name)
            if (mocap := int(self.model.body_mocapid[body.id])) >= 0:
                self._batch.bind("mocap_pos")[world, mocap] = pos
                self._batch.bind("mocap_quat")[world, mocap] = quat
            else:
                at = int(self.model.jnt_qposadr[body.jntadr[0]])
                self.qpos[world, at : at + 7] = (*pos, *quat)
        for name, value in start.joints.items():
            self.qpos[world, self.model.joint(name).qposadr[0]] = value

    def command_here(self) -> Array:
        """The command [num_worlds, n_joints + 1] that holds the present pose."""
        return np.concatenate((self.qpos[:, self._arm], self._width()[:, None]), axis=1)

    def push(self, body: str, wrench: Array) -> None:
        """Apply a force in N and a torque in N m [num_worlds, 6] at a body's centre of mass until told otherwise."""
        self._wrench[:, self._bodies[self._names[body]]] = wrench

    def write_model(self, ids: NDArray[np.intp], fields: Mapping[str, Array]) -> None:
        """Give worlds `ids` their own values [len(ids), ...] of fields of the model, named as in MuJoCo's `MjModel`."""
        for name, values in fields.items():
            self._batch.expand(name)[ids] = values
        if "geom_size" in fields:
            self._half[ids] = half_sizes(self.model, self.task.bodies, self._batch.expand("geom_size")[ids])
        self._batch.set_const(ids)
        self._batch.forward(ids, stage=mujoco.mjtStage.mjSTAGE_POS)

    def step(self, command: Array, nstep: int) -> None:
        """Advance `nstep` physics steps with a constant command [num_worlds, n_joints + 1]."""
        self._ctrl[:] = self._controls(command)
        self._batch.step(nstep=nstep, stage=mujoco.mjtStage.mjSTAGE_POS)
        self._report()

    def follow_step(self, controls: Array) -> None:
        """Advance one physics step per row of commands [num_worlds, nstep, n_joints + 1]."""
        nstep = controls.shape[1]
        self._batch.rollout(nstep, control=self._controls(controls), control_spec=CTRL, record=())
        self._batch.forward(stage=mujoco.mjtStage.mjSTAGE_POS)
        self._report()

    @property
    def state(self) -> WorldState:
        """Copies of the present state."""
        return WorldState(
            joints=self.qpos[:, self._arm],
            joint_velocities=self._qvel[:, self._arm_velocity],
            width=self._width(),
            tool_pos=self._tool_pos.copy(),
            tool_quat=self._tool_quat.copy(),
            body_pos=self._pos[:, self._bodies],
            body_quat=self._quat[:, self._bodies],
            half=self._half,
            variant=self.variant,
            names=self._names,
        )

    def close(self) -> None:
        """Drop the batch, and with it the threads."""
        del self._batch

    def _report(self) -> None:
        # MuJoCo counts what goes wrong and carries on: it puts a world that diverged back to its reference pose
        counters = self._batch.warning[:, :, 1]
        for world, kind in np.argwhere(counters):
            text = f"world {world}: {mujoco.mjtWarning(kind).name}; its physics is wrong: try a smaller task.timestep"
            warnings.warn(text, RuntimeWarning, stacklevel=3)
        counters[:] = 0

    def _width(self) -> Array:
        return self.qpos[:, self._fingers].sum(axis=1)

    def _controls(self, command: Array) -> Array:
        fingers = len(self._fingers)
        grip = np.repeat(command[..., -1:] / fingers, fingers, axis=-1)
        return np.concatenate((command[..., :-1], grip), axis=-1)


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


def MujocoVecEnv(  # noqa: N802 (a constructor: users look for it by this name)
    task: str = "lift",
    robot: str = "panda",
    *,
    num_envs: int = 1,
    threads: int = 1,
    timestep: float = 0.005,
    fps: int = 20,
    **options: Any,
) -> RobotVecEnv:
    """`RobotVecEnv` on MuJoCo.

    Args:
        task: name; see `robolearn.sim.tasks.TASKS`.
        robot: name; see `robolearn.sim.robots.ROBOTS`.
        num_envs: worlds.
        threads: CPU threads that step them.
        timestep: physics step in s.
        fps: control rate in Hz; a whole number of physics steps must fit in a control step.
        **options: the rest of `RobotVecEnv`'s arguments.
    """
    decimation = substeps(fps=fps, timestep=timestep)
    worlds = Worlds(make_task(task), get_robot(robot), num_worlds=num_envs, threads=threads, timestep=timestep)
    return RobotVecEnv(worlds, fps=fps, decimation=decimation, **options)


def substeps(*, fps: int, timestep: float) -> int:
    """Physics steps of `timestep` s in a control step at `fps` Hz.

    Raises:
        UserError: they do not fit.
    """
    count = round(1 / (fps * timestep))
    if abs(count * timestep * fps - 1) > 1e-6:
        raise UserError(f"a control step of 1/{fps} s is no whole number of physics steps of {timestep} s")
    return count
