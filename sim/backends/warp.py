"""GPU backend: many worlds on MuJoCo Warp, every physics step of a control step in one recorded graph.

Scenes, starts, predicates and observations are those of the `mujoco` backend; poses are copied to the host once per
control step. It also runs on a CPU, where the `mujoco` backend is the faster one: for tests and for writing code on a
machine without a GPU. MuJoCo Warp has all that the scenes use (elliptic cones, `impratio`, torsional friction, the
`implicitfast` integrator, gravity compensation, fixtures as mocap bodies). What differs:

- Numbers are float32, and the solver stops at a tolerance of 1e-6 where MuJoCo's is 1e-8. Over 40 control steps an arm
  in free space stays within 1e-5 rad of the `mujoco` backend's, and an object comes to rest within 5e-5 m. Where
  contacts are made and broken the trajectories part in time, as those of any two nearly equal starts do.
- Contacts come from MuJoCo Warp's own collision code, which can choose other contact points on the same surfaces.
- Room for contacts and constraints is set aside beforehand (`nconmax`, `njmax`). Those that find none are left out, and
  a warning says so.
- On a GPU sums are taken in any order, so two runs with the same seeds need not agree to the last bit, unless
  `deterministic` is set. On a CPU they do.

The first run compiles MuJoCo Warp's kernels, which takes minutes; later ones load them from Warp's cache.
Tested on a CPU; it has not run on a GPU yet.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.robot import RobotSpec
from robolearn.sim.backends.layout import Layout, substeps
from robolearn.sim.robots import get_robot
from robolearn.sim.scene import build_model
from robolearn.sim.state import WorldState
from robolearn.sim.tasks import make_task
from robolearn.sim.tasks.task import Task
from robolearn.sim.vec_env import RobotVecEnv

Array = NDArray[np.float64]
NCONMAX, NJMAX = 48, 192  # per world; disturbed experts and random actions were seen to need 17 on average and 124
LARGEST = 1e10  # positions and velocities beyond count as diverged, as in MuJoCo (mjMAXVAL)


class WarpWorlds:
    """`num_worlds` copies of one scene on MuJoCo Warp; see `robolearn.sim.backends.mujoco.Worlds`.

    Positions are mirrored on the host in float64; what is written to `qpos` counts from the next step.
    """

    def __init__(
        self,
        task: Task,
        robot: RobotSpec,
        *,
        num_worlds: int = 1,
        device: str | None = None,
        timestep: float = 0.005,
        nconmax: int = NCONMAX,
        njmax: int = NJMAX,
        deterministic: bool = False,
    ) -> None:
        """Compile the scene and set memory aside; see `WarpVecEnv`.

        Raises:
            UserError: an argument cannot be.
            ModuleNotFoundError: MuJoCo Warp is not installed.
        """
        if min(num_worlds, nconmax, njmax) < 1:
            raise UserError("num_envs, nconmax and njmax must be at least 1")
        from robolearn.sim.backends.warp_device import DeviceWorlds

        self.task, self.robot, self.num_worlds = task, robot, num_worlds
        self.model = model = build_model(task, robot, timestep=timestep)
        self.variant: NDArray[np.int64] = np.zeros(num_worlds, np.int64)
        self._layout = Layout(model, task, robot)
        self._room = {"nconmax": nconmax, "njmax": njmax}
        self._device = DeviceWorlds(
            model, num_worlds=num_worlds, device=device, deterministic=deterministic, **self._room
        )
        fixtures = model.body_mocapid >= 0
        self._reference = {
            "qpos": model.qpos0,
            "mocap_pos": model.body_pos[fixtures],
            "mocap_quat": model.body_quat[fixtures],
        }
        self._placed: dict[str, Array] = {
            name: np.repeat(value[None], num_worlds, axis=0) for name, value in self._reference.items()
        }
        self.qpos: Array = self._placed["qpos"]
        self._half: Array = np.repeat(self._layout.half_sizes()[None], num_worlds, axis=0)
        self._place()

    def reset(self, seeds: Sequence[int | np.random.Generator], ids: NDArray[np.intp] | None = None) -> None:
        """Start an episode in worlds `ids` (all when None), one seed or generator each."""
        chosen = np.arange(self.num_worlds) if ids is None else ids
        self._clear(chosen)
        for i, seed in zip(chosen, seeds, strict=True):
            self.variant[i] = self._layout.begin(seed, **{name: value[i] for name, value in self._placed.items()})
        self._place()

    def command_here(self) -> Array:
        """The command [num_worlds, n_joints + 1] that holds the present pose."""
        return self._layout.command(self.qpos)

    def push(self, body: str, wrench: Array) -> None:
        """Apply a force in N and a torque in N m [num_worlds, 6] at a body's centre of mass until told otherwise."""
        self._device.push(self._layout.bodies[self._layout.names[body]], wrench)

    def write_model(self, ids: NDArray[np.intp], fields: Mapping[str, Array]) -> None:
        """Give worlds `ids` their own values [len(ids), ...] of fields of the model, named as in MuJoCo's `MjModel`.

        The first write of a field gives every world its own copy of it, after which steps are recorded anew. Geoms
        that never move stand where the scene has them: `geom_pos` and `geom_quat` of these do nothing.

        Raises:
            UserError: MuJoCo Warp has one value of a field for all worlds, or no such field.
        """
        self._device.write_model(ids, fields)
        if "geom_size" in fields:
            self._half[ids] = self._layout.half_sizes(fields["geom_size"])
        self._place()

    def read_model(self, name: str) -> NDArray[np.floating] | None:
        """Values [num_worlds, ...] of a field of the model; None where all worlds have the model's own."""
        return self._device.model_field(name)

    @property
    def geom_poses(self) -> tuple[Array, Array]:
        """Positions [num_worlds, ngeom, 3] and orientations [num_worlds, ngeom, 9] of all geoms."""
        pos, rot = self._device.read("geom_xpos"), self._device.read("geom_xmat")
        return pos, rot.reshape(*pos.shape[:2], 9)

    def follow_step(self, controls: Array) -> None:
        """Advance one physics step per row of commands [num_worlds, nstep, n_joints + 1]."""
        self._device.steps(self.qpos, self._layout.controls(controls).swapaxes(0, 1))
        self._read()
        self._report()

    @property
    def state(self) -> WorldState:
        """Copies of the present state."""
        return self._layout.state(
            qpos=self.qpos,
            qvel=self._qvel,
            pos=self._pos[:, self._layout.bodies],
            quat=self._quat[:, self._layout.bodies],
            tool_pos=self._tool_pos,
            tool_quat=self._quat[:, self._layout.hand],
            half=self._half,
            variant=self.variant,
        )

    def close(self) -> None:
        """Free the device's memory."""
        del self._device

    def _clear(self, ids: NDArray[np.intp]) -> None:
        self._device.clear(ids)
        for name, value in self._reference.items():
            self._placed[name][ids] = value

    def _place(self) -> None:
        self._device.place(**self._placed)
        self._read()

    def _read(self) -> None:
        self.qpos[:] = self._device.read("qpos")
        self._qvel, self._pos, self._quat = (self._device.read(name) for name in ("qvel", "xpos", "xquat"))
        self._tool_pos = self._device.read("site_xpos")[:, self._layout.tool]

    def _report(self) -> None:
        for option, worlds in self._device.overflow().items():
            text = (
                f"{worlds} of {self.num_worlds} worlds: no room for all contacts, some were left out and the physics "
                f"is wrong: make {option} larger than {self._room[option]}"
            )
            warnings.warn(text, RuntimeWarning, stacklevel=3)
        motion = np.concatenate((self.qpos, self._qvel), axis=1)
        lost = np.flatnonzero(~(np.abs(motion) < LARGEST).all(axis=1))
        if lost.size:  # as MuJoCo does, which puts such a world back to its reference pose
            self._clear(lost)
            self._place()
        for world in lost:
            text = f"world {world}: diverged; its physics is wrong: try a smaller task.timestep"
            warnings.warn(text, RuntimeWarning, stacklevel=3)


def WarpVecEnv(  # noqa: N802 (a constructor: users look for it by this name)
    task: str = "lift",
    robot: str = "panda",
    *,
    num_envs: int = 1,
    device: str | None = None,
    timestep: float = 0.005,
    fps: int = 20,
    nconmax: int = NCONMAX,
    njmax: int = NJMAX,
    deterministic: bool = False,
    **options: Any,
) -> RobotVecEnv:
    """`RobotVecEnv` on MuJoCo Warp.

    Args:
        task: name; see `robolearn.sim.tasks.TASKS`.
        robot: name; see `robolearn.sim.robots.ROBOTS`.
        num_envs: worlds.
        device: where the physics runs, "cuda:0" or "cpu"; the first GPU where there is one, else the CPU, when None.
        timestep: physics step in s.
        fps: control rate in Hz; a whole number of physics steps must fit in a control step.
        nconmax: contacts per world, on average over the worlds, that there is room for.
        njmax: constraint rows per world that there is room for; a contact has four.
        deterministic: whether the same seeds give the same episodes to the last bit on a GPU, too, which is slower.
        **options: the rest of `RobotVecEnv`'s arguments.

    Raises:
        UserError: an argument cannot be.
        ModuleNotFoundError: MuJoCo Warp is not installed.
    """
    decimation = substeps(fps=fps, timestep=timestep)
    worlds = WarpWorlds(
        make_task(task),
        get_robot(robot),
        num_worlds=num_envs,
        device=device,
        timestep=timestep,
        nconmax=nconmax,
        njmax=njmax,
        deterministic=deterministic,
    )
    return RobotVecEnv(worlds, fps=fps, decimation=decimation, **options)
