"""The Gymnasium face of a batch of worlds: schema, observations, rewards, episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from robolearn.action_space import make_action_space
from robolearn.errors import UserError, nearest
from robolearn.motion import MotionLimiter
from robolearn.proprioception import pose_vector, poses_feature, state_feature
from robolearn.robot import RobotSpec
from robolearn.schema import Schema
from robolearn.sim.stages import task_progress
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.task import Task

Array = NDArray[np.float64]
Obs = dict[str, NDArray[np.float32]]
REWARDS = ("sparse", "stages", "dense")


class WorldBatch(Protocol):
    """What a backend offers: see `robolearn.sim.backends.mujoco.Worlds`.

    Attributes:
        task: what is done.
        robot: the arm.
        num_worlds: copies of the scene.
        model: the scene as MuJoCo draws it.
        qpos: all generalised positions [num_worlds, nq], live.
        variant: which of the task's variants each world is asked for [num_worlds].
    """

    task: Task
    robot: RobotSpec
    num_worlds: int
    model: mujoco.MjModel
    qpos: Array
    variant: NDArray[np.int64]

    @property
    def state(self) -> WorldState:
        """Copies of the present state."""

    def reset(self, seeds: Sequence[Any], ids: NDArray[np.intp] | None = None) -> None:
        """Start an episode in worlds `ids`, one seed or generator each."""

    def command_here(self) -> Array:
        """Command that holds the present pose."""

    def push(self, body: str, wrench: Array) -> None:
        """Apply a force and a torque [num_worlds, 6] to a body until told otherwise."""

    def write_model(self, ids: NDArray[np.intp], fields: Mapping[str, Array]) -> None:
        """Give worlds their own values of fields of the model."""

    def follow_step(self, controls: Array) -> None:
        """Advance one physics step per row of commands [num_worlds, nstep, n_joints + 1]."""

    def close(self) -> None:
        """Release threads."""


def make_schema(task: Task, robot: RobotSpec, *, action_space: str, fps: int) -> Schema:
    """Channels of a task on a robot, the same for simulator, dataset, policy and controller."""
    return Schema(
        features={
            "observation.state": state_feature(robot),
            "observation.environment_state": poses_feature(task.bodies, task.n_variants),
            "action": make_action_space(action_space, robot=robot, dt=1 / fps).feature,
        },
        fps=fps,
    )


def poses_vector(state: WorldState, n_variants: int) -> NDArray[np.float32]:
    """`observation.environment_state` [n, dim]: pose of each body, then, where there is a choice, what is asked for."""
    poses: Array = pose_vector(state.body_pos, state.body_quat).reshape(len(state.width), -1)
    if n_variants > 1:
        poses = np.concatenate((poses, np.eye(n_variants)[state.variant]), axis=1)
    return poses.astype(np.float32)


class RobotVecEnv(VectorEnv[Obs, NDArray[Any], NDArray[Any]]):
    """Worlds of one task as a `gymnasium.vector.VectorEnv`; see `robolearn.protocols.VecEnv`.

    World i of a reset with an integer seed s starts from seed s + i; later episodes of the same world draw
    from that world's own generator, so nothing depends on `num_envs`.
    """

    def __init__(
        self,
        worlds: WorldBatch,
        *,
        action_space: str | None = None,
        fps: int = 20,
        decimation: int = 10,
        max_episode_steps: int | None = None,
        reward: str = "sparse",
        autoreset: bool = True,
    ) -> None:
        """Wrap `worlds`.

        Args:
            worlds: the backend's worlds.
            action_space: one of `robolearn.action_space.ACTION_SPACES`; the task's own when None.
            fps: control rate in Hz.
            decimation: physics steps per control step.
            max_episode_steps: control steps until truncation; what the task needs when None.
            reward: "sparse" (1 on success), "stages" (1/K on each of K stages, taken back when the world falls
                back) or "dense" (progress through the stages, in [0, 1]).
            autoreset: restart finished worlds within the same step; else the caller resets by mask.
        """
        if reward not in REWARDS:
            raise UserError(f"unknown reward '{reward}'{nearest(reward, REWARDS)}")
        self.worlds, self.task, self.robot = worlds, worlds.task, worlds.robot
        self.num_envs = worlds.num_worlds
        space = self.task.action_space if action_space is None else action_space
        self.schema = make_schema(self.task, self.robot, action_space=space, fps=fps)
        self.mapping = make_action_space(space, robot=self.robot, dt=1 / fps)
        self.instructions = [self.task.instructions[0][0]] * self.num_envs
        self.stage_names = self.task.stage_names
        self.max_episode_steps = self.task.max_episode_steps if max_episode_steps is None else max_episode_steps
        self._decimation, self._reward, self._autoreset = decimation, reward, autoreset
        self._stage = np.zeros(self.num_envs, np.int64)
        mode = AutoresetMode.SAME_STEP if autoreset else AutoresetMode.DISABLED
        self.metadata = {"render_fps": fps, "autoreset_mode": mode, "render_modes": []}
        self._make_spaces()
        self._rng = [np.random.default_rng(i) for i in range(self.num_envs)]
        self._sent: Array = np.zeros((self.num_envs, self.robot.n_joints + 1))
        self._velocity: Array = np.zeros_like(self._sent)
        self._motion = MotionLimiter(self.robot, 1 / (fps * decimation))
        self._elapsed = np.zeros(self.num_envs, np.int64)

    def _make_spaces(self) -> None:
        action = self.schema.action
        self.single_action_space = spaces.Box(
            np.array(action.low, np.float32), np.array(action.high, np.float32), dtype=np.float32
        )
        self.single_observation_space = spaces.Dict(
            {key: spaces.Box(-np.inf, np.inf, self.schema[key].shape) for key in self.schema.observation_keys}
        )
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Start episodes; see `robolearn.protocols.VecEnv.reset`."""
        if seed is not None:
            seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else list(seed)
            if len(seeds) != self.num_envs:
                raise UserError(f"{len(seeds)} seeds for {self.num_envs} worlds")
            for i, value in enumerate(seeds):
                if value is not None:
                    self._rng[i] = np.random.default_rng(value)
        mask = (options or {}).get("reset_mask")
        ids = np.arange(self.num_envs) if mask is None else np.flatnonzero(mask)
        self._restart(ids)
        state = self.worlds.state
        return self._observe(state), self._info(state)

    def step(
        self, actions: NDArray[np.floating]
    ) -> tuple[Obs, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Advance one control step; see `robolearn.protocols.VecEnv.step`."""
        wanted = np.asarray(actions, np.float64)
        expected = (self.num_envs, *self.schema.action.shape)
        if wanted.shape != expected:
            raise ValueError(f"actions have shape {wanted.shape}, expected {expected}")
        if not np.isfinite(wanted).all():
            world, dim = np.argwhere(~np.isfinite(wanted))[0]
            raise ValueError(f"action '{self.schema.action.names[dim]}' of world {world} is not finite")
        self._move(self.mapping.command(self._sent, self.worlds.command_here(), wanted))
        self._elapsed += 1
        state = self.worlds.state
        info = self._info(state)
        terminated = info["success"]
        truncated = ~terminated & (self._elapsed >= self.max_episode_steps)
        reward = self._rewards(info)
        observation = self._observe(state)
        done = np.flatnonzero(terminated | truncated)
        if self._autoreset and done.size:
            info["final_obs"] = observation
            info["_final_obs"] = terminated | truncated
            self._restart(done)
            observation = self._observe(self.worlds.state)
        return observation, reward, terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Release the backend's threads."""
        self.worlds.close()

    def _move(self, goal: Array) -> None:
        path, self._velocity = self._motion.follow(self._sent, self._velocity, goal, self._decimation)
        self.worlds.follow_step(path)
        self._sent = path[:, -1]

    def _rewards(self, info: dict[str, Any]) -> Array:
        gained = (info["stage"] - self._stage) / len(self.task.stages)
        self._stage = info["stage"].copy()
        if self._reward == "stages":
            return gained
        return info["progress"] if self._reward == "dense" else info["success"].astype(np.float64)

    def _restart(self, ids: NDArray[np.intp]) -> None:
        self.worlds.reset([self._rng[i] for i in ids], ids)
        self._sent[ids] = self.worlds.command_here()[ids]
        self._velocity[ids] = 0.0
        self._elapsed[ids] = 0
        self._stage[ids] = self.task.stage(self.worlds.state)[ids]
        for i in ids:
            phrasings = self.task.instructions[self.worlds.variant[i]]
            self.instructions[i] = phrasings[self._rng[i].integers(len(phrasings))]

    def _observe(self, state: WorldState) -> Obs:
        proprio = (state.joints, state.width[:, None], pose_vector(state.tool_pos, state.tool_quat))
        return {
            "observation.state": np.concatenate(proprio, axis=1).astype(np.float32),
            "observation.environment_state": poses_vector(state, self.task.n_variants),
        }

    def _info(self, state: WorldState) -> dict[str, Any]:
        stage = self.task.stage(state)
        progress = task_progress(self.task.stages, state, stage)
        return {"success": stage == len(self.task.stages), "stage": stage, "progress": progress}
