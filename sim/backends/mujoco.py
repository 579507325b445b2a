"""CPU backend: many worlds on MuJoCo's own thread pool, every physics step of a control step in C."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.robot import RobotSpec
from robolearn.sim.backends.layout import Layout, substeps
from robolearn.sim.backends.poses import LoosePoses, all_loose
from robolearn.sim.robots import get_robot
from robolearn.sim.scene import build_model
from robolearn.sim.state import WorldState
from robolearn.sim.tasks import make_task
from robolearn.sim.tasks.task import Task
from robolearn.sim.vec_env import RobotVecEnv

Array = NDArray[np.float64]
CTRL = int(mujoco.mjtState.mjSTATE_CTRL)


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
        self._layout = Layout(self.model, task, robot)
        self._batch = Batch(self.model, nsim=num_worlds, nthread=threads)
        self.qpos: Array = self._batch.bind("qpos")
        self._qvel: Array = self._batch.bind("qvel")
        self._ctrl: Array = self._batch.bind("ctrl")
        self._wrench: Array = self._batch.bind("xfrc_applied")
        self._mocap: tuple[Array, Array] = self._batch.bind("mocap_pos"), self._batch.bind("mocap_quat")
        self._loose = LoosePoses(self.model, robot, task.bodies)
        self._articulated = None if all_loose(self.model, task.bodies) else self._bind_poses()
        self._half: Array = np.repeat(self._layout.half_sizes()[None], num_worlds, axis=0)

    def reset(self, seeds: Sequence[int | np.random.Generator], ids: NDArray[np.intp] | None = None) -> None:
        """Start an episode in worlds `ids` (all when None), one seed or generator each."""
        chosen = np.arange(self.num_worlds) if ids is None else ids
        self._batch.reset(chosen, stage=mujoco.mjtStage.mjSTAGE_NONE)
        pos, quat = self._mocap
        for i, seed in zip(chosen, seeds, strict=True):
            self.variant[i] = self._layout.begin(seed, qpos=self.qpos[i], mocap_pos=pos[i], mocap_quat=quat[i])
        self._ctrl[chosen] = self._layout.controls(self.command_here()[chosen])
        self._derive(chosen)

    def command_here(self) -> Array:
        """The command [num_worlds, n_joints + 1] that holds the present pose."""
        return self._layout.command(self.qpos)

    def push(self, body: str, wrench: Array) -> None:
        """Apply a force in N and a torque in N m [num_worlds, 6] at a body's centre of mass until told otherwise."""
        self._wrench[:, self._layout.bodies[self._layout.names[body]]] = wrench

    def write_model(self, ids: NDArray[np.intp], fields: Mapping[str, Array]) -> None:
        """Give worlds `ids` their own values [len(ids), ...] of fields of the model, named as in MuJoCo's `MjModel`."""
        for name, values in fields.items():
            self._batch.expand(name)[ids] = values
        if "geom_size" in fields:
            self._half[ids] = self._layout.half_sizes(self._batch.expand("geom_size")[ids])
        self._batch.set_const(ids)
        self._derive(ids)

    def read_model(self, name: str) -> NDArray[np.floating] | None:
        """Values [num_worlds, ...] of a field of the model; None where all worlds have the model's own."""
        values: NDArray[np.floating] | None = self._batch.expanded(name)
        return values

    @cached_property
    def geom_poses(self) -> tuple[Array, Array]:
        """Positions [num_worlds, ngeom, 3] and orientations [num_worlds, ngeom, 9] of all geoms, live.

        From the first use on every step writes them.
        """
        poses = self._batch.bind("geom_xpos"), self._batch.bind("geom_xmat")
        self._batch.forward(stage=mujoco.mjtStage.mjSTAGE_POS)
        return poses

    @cached_property
    def _torques(self) -> Array:
        torques: Array = self._batch.bind("qfrc_actuator")
        return torques

    def efforts(self) -> Array:
        """Torques of the arm's servos [num_worlds, n_joints] in N m, in the last physics step."""
        return self._torques[:, self._layout.arm_velocity]

    def step(self, command: Array, nstep: int) -> None:
        """Advance `nstep` physics steps with a constant command [num_worlds, n_joints + 1]."""
        self._ctrl[:] = self._layout.controls(command)
        self._batch.step(nstep=nstep, stage=mujoco.mjtStage.mjSTAGE_NONE)
        self._derive()
        self._report()

    def follow_step(self, controls: Array) -> None:
        """Advance one physics step per row of commands [num_worlds, nstep, n_joints + 1]."""
        nstep = controls.shape[1]
        self._batch.rollout(nstep, control=self._layout.controls(controls), control_spec=CTRL, record=())
        self._derive()
        self._report()

    @property
    def state(self) -> WorldState:
        """Copies of the present state."""
        tool_pos, tool_quat = self._loose.tool(self.qpos)
        if self._articulated is None:
            pos, quat = self._loose.bodies(self.qpos, *self._mocap)
        else:
            pos, quat = (values[:, self._layout.bodies] for values in self._articulated)
        return self._layout.state(
            qpos=self.qpos,
            qvel=self._qvel,
            pos=pos,
            quat=quat,
            tool_pos=tool_pos,
            tool_quat=tool_quat,
            half=self._half,
            variant=self.variant,
        )

    def close(self) -> None:
        """Drop the batch, and with it the threads."""
        del self._batch

    def _bind_poses(self) -> tuple[Array, Array]:
        return self._batch.bind("xpos"), self._batch.bind("xquat")

    def _derive(self, ids: NDArray[np.intp] | None = None) -> None:
        """Bring what follows from the positions up to date, where anybody reads it: half a physics step's work."""
        if self._articulated is not None or "geom_poses" in vars(self):
            self._batch.forward(ids, stage=mujoco.mjtStage.mjSTAGE_POS)

    def _report(self) -> None:
        # MuJoCo counts what goes wrong and carries on: it puts a world that diverged back to its reference pose
        counters = self._batch.warning[:, :, 1]
        if not counters.any():
            return
        for world, kind in np.argwhere(counters):
            text = f"world {world}: {mujoco.mjtWarning(kind).name}; its physics is wrong: try a smaller task.timestep"
            warnings.warn(text, RuntimeWarning, stacklevel=3)
        counters[:] = 0


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
    return RobotVecEnv(worlds, fps=fps, decimation=decimation, threads=threads, **options)
