"""Isaac Gym backend: the same tasks on PhysX and a GPU, through Isaac Gym's public tensor API.

Isaac Gym (Preview 4) is on no package index, and its binary modules are for Python 3.6 to 3.8 only. This backend is
written against its documented interface and tested with a stand-in that serves the same tensors from MuJoCo; it has
not run on Isaac Gym itself. `backend=warp` is the GPU backend that anyone can install.

PhysX is another engine than MuJoCo, and a trajectory of one is not one of the other. What differs by design:

- Friction: PhysX takes the mean of two surfaces, MuJoCo the larger one, or that of the geom with the higher priority
  (finger pads, the smooth wall of `wall_pivot`); the torsional and rolling kinds and MuJoCo's soft contacts
  (`solref`, `solimp`) have no counterpart.
- Drives: position actuators become PhysX's implicit drives with the same stiffness and force limit; the passive damping
  of a joint adds to the drive's, inside that limit. Joints get no faster than twice the robot's limits.
- Weight: an arm whose controller carries it (`gravcomp`) ignores gravity.
- Fixtures with joints of their own (the drawer) are articulations with a fixed base; dry friction of their joints
  (`frictionloss`) is left out, as PhysX's is a share of the joint's load.
- Cylinders are prisms; marks, which touch nothing, exist outside the physics only.
- Numbers are float32, and on a GPU two runs need not agree to the last bit.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.robot import RobotSpec
from robolearn.rotations import matrix_from_quat
from robolearn.sim.backends.isaacgym_scene import IsaacScene
from robolearn.sim.backends.layout import Layout, substeps
from robolearn.sim.kernels import rotation_matrices
from robolearn.sim.robots import get_robot
from robolearn.sim.scene import build_model
from robolearn.sim.state import WorldState
from robolearn.sim.tasks import make_task
from robolearn.sim.tasks.task import Task
from robolearn.sim.vec_env import RobotVecEnv

Array = NDArray[np.float64]


class IsaacGymWorlds:
    """`num_worlds` copies of one scene on Isaac Gym; see `robolearn.sim.backends.mujoco.Worlds`.

    `qpos` is a mirror in MuJoCo's layout; to write to it moves nothing. What a reset writes reaches the simulation with
    the next step, as Isaac Gym heeds one such change between two steps; until then MuJoCo's kinematics say where the
    bodies are.
    """

    def __init__(
        self, task: Task, robot: RobotSpec, *, num_worlds: int = 1, device: str = "cuda:0", timestep: float = 0.005
    ) -> None:
        """Create the simulation on `device` ("cpu", "cuda:0"); `timestep` is the physics step in s.

        Raises:
            UserError: Isaac Gym is not installed or cannot be imported here, or the device has no such name.
        """
        if num_worlds < 1:
            raise UserError("num_envs must be at least 1")
        require_isaacgym()
        self.task, self.robot, self.num_worlds = task, robot, num_worlds
        self.model = model = build_model(task, robot, timestep=timestep)
        self.variant: NDArray[np.int64] = np.zeros(num_worlds, np.int64)
        self._layout, self._data = Layout(model, task, robot), mujoco.MjData(model)
        self._scene = IsaacScene(model, robot, num_worlds=num_worlds, device=device)
        self._driven = model.jnt_qposadr[model.actuator_trnid[:, 0]]
        self._joints = model.jnt_qposadr[self._scene.joints], model.jnt_dofadr[self._scene.joints]
        self._free = np.array([body for body in self._scene.placed if model.body_dofnum[body]], np.intp)
        self._free_qpos = model.jnt_qposadr[model.body_jntadr[self._free]][:, None] + np.arange(7)
        self._waiting = np.zeros(num_worlds, bool)  # for a step that takes their start to the simulation
        self.qpos: Array = np.repeat(model.qpos0[None], num_worlds, axis=0)
        self._qvel: Array = np.zeros((num_worlds, model.nv))
        self._pos: Array = np.zeros((num_worlds, model.nbody, 3))
        self._quat: Array = np.zeros((num_worlds, model.nbody, 4))
        self._half: Array = np.repeat(self._layout.half_sizes()[None], num_worlds, axis=0)

    def reset(self, seeds: Sequence[int | np.random.Generator], ids: NDArray[np.intp] | None = None) -> None:
        """Start an episode in worlds `ids` (all when None), one seed or generator each."""
        chosen, data = np.arange(self.num_worlds) if ids is None else ids, self._data
        for i, seed in zip(chosen, seeds, strict=True):
            mujoco.mj_resetData(self.model, data)
            self.variant[i] = self._layout.begin(
                seed, qpos=data.qpos, mocap_pos=data.mocap_pos, mocap_quat=data.mocap_quat
            )
            mujoco.mj_kinematics(self.model, data)
            self.qpos[i], self._qvel[i], self._pos[i], self._quat[i] = data.qpos, 0.0, data.xpos, data.xquat
        self._scene.let_go(chosen)
        self._waiting[chosen] = True

    def command_here(self) -> Array:
        """The command [num_worlds, n_joints + 1] that holds the present pose."""
        return self._layout.command(self.qpos)

    def push(self, body: str, wrench: Array) -> None:
        """Apply a force in N and a torque in N m [num_worlds, 6] at a body's centre of mass until told otherwise."""
        self._scene.push(int(self._layout.bodies[self._layout.names[body]]), wrench)

    def write_model(self, ids: NDArray[np.intp], fields: Mapping[str, Array]) -> None:
        """Give worlds `ids` their own values [len(ids), ...] of fields of the model, named as in MuJoCo's `MjModel`.

        Raises:
            UserError: a field that Isaac Gym cannot vary between worlds, such as sizes.
        """
        self._scene.write(ids, fields)

    def read_model(self, name: str) -> NDArray[np.floating] | None:
        """Values [num_worlds, ...] of a field of the model; None where all worlds have the model's own."""
        return self._scene.own.get(name)

    @property
    def geom_poses(self) -> tuple[Array, Array]:
        """Positions [num_worlds, ngeom, 3] and orientations [num_worlds, ngeom, 9] of all geoms."""
        model, body = self.model, self.model.geom_bodyid
        turn = rotation_matrices(self._quat)[:, body]
        pos = self._pos[:, body] + (turn @ model.geom_pos[..., None])[..., 0]
        return pos, (turn @ matrix_from_quat(model.geom_quat)).reshape(*pos.shape[:2], 9)

    def follow_step(self, controls: Array) -> None:
        """Advance one physics step per row of commands [num_worlds, nstep, n_joints + 1]."""
        self._send_starts()
        targets = np.zeros((*controls.shape[:2], self.model.nq))
        targets[..., self._driven] = self._layout.controls(controls)
        self._scene.step(targets[..., self._joints[0]].swapaxes(0, 1))
        self._read()
        self._report()

    def _send_starts(self) -> None:
        ids = np.flatnonzero(self._waiting)
        if ids.size:
            poses = np.concatenate((self._pos, self._quat), axis=2)[ids][:, self._scene.placed]
            self._scene.start(ids, poses, self.qpos[ids][:, self._joints[0]])
            self._waiting[ids] = False

    def _read(self) -> None:
        motion, (joints, dofs), bodies = self._scene.read(), self._joints, self._scene.bodies
        self.qpos[:, joints], self._qvel[:, dofs] = motion.positions, motion.velocities
        self._pos[:, bodies], self._quat[:, bodies] = motion.pos, motion.quat
        self.qpos[:, self._free_qpos] = np.concatenate((self._pos, self._quat), axis=2)[:, self._free]

    @property
    def state(self) -> WorldState:
        """Copies of the present state."""
        pos, quat = self._pos[:, self._layout.hand], self._quat[:, self._layout.hand]
        return self._layout.state(
            qpos=self.qpos,
            qvel=self._qvel,
            pos=self._pos[:, self._layout.bodies],
            quat=self._quat[:, self._layout.bodies],
            tool_pos=pos + matrix_from_quat(quat) @ self.model.site_pos[self._layout.tool],
            tool_quat=quat,
            half=self._half,
            variant=self.variant,
        )

    def close(self) -> None:
        """End the simulation."""
        self._scene.close()

    def _report(self) -> None:
        for world in np.flatnonzero(~np.isfinite(self._pos).all(axis=(1, 2))):
            text = f"world {world}: its physics diverged; try a smaller task.timestep"
            warnings.warn(text, RuntimeWarning, stacklevel=3)


def require_isaacgym() -> None:
    """Import Isaac Gym, before torch.

    Raises:
        UserError: it is missing or cannot be imported, with what to do.
    """
    try:
        import isaacgym.gymtorch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "isaacgym":
            raise
        raise UserError(
            "Isaac Gym is not installed, and no package index has it: download 'Isaac Gym Preview 4' from NVIDIA's "
            "developer site and install its folder `python`; its binary modules are for Python 3.6 to 3.8 only, so "
            f"that this Python {sys.version_info.major}.{sys.version_info.minor} needs a build of its own; "
            "backend=warp runs on a GPU without it"
        ) from error
    except (ImportError, RuntimeError) as error:  # torch came first, no module for this Python, a missing library
        raise UserError(f"Isaac Gym is installed, but cannot be imported here: {error}") from error


def IsaacGymVecEnv(  # noqa: N802 (a constructor: users look for it by this name)
    task: str = "lift",
    robot: str = "panda",
    *,
    num_envs: int = 1,
    device: str = "cuda:0",
    timestep: float = 0.005,
    fps: int = 20,
    **options: Any,
) -> RobotVecEnv:
    """`RobotVecEnv` on Isaac Gym.

    Args:
        task: name; see `robolearn.sim.tasks.TASKS`.
        robot: name; see `robolearn.sim.robots.ROBOTS`.
        num_envs: worlds.
        device: where PhysX runs, "cpu", or "cuda:0" for the first GPU.
        timestep: physics step in s.
        fps: control rate in Hz; a whole number of physics steps must fit in a control step.
        **options: the rest of `RobotVecEnv`'s arguments.

    Raises:
        UserError: Isaac Gym is missing, or an argument cannot be.
    """
    decimation = substeps(fps=fps, timestep=timestep)
    worlds = IsaacGymWorlds(make_task(task), get_robot(robot), num_worlds=num_envs, device=device, timestep=timestep)
    return RobotVecEnv(worlds, fps=fps, decimation=decimation, **options)
