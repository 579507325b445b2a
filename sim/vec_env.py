"""The Gymnasium face of a batch of worlds: schema, observations, rewards, episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import mujoco
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from robolearn.action_space import make_action_space
from robolearn.errors import UserError, nearest
from robolearn.proprioception import POSE_DIM, poses_feature, state_feature
from robolearn.robot import RobotSpec
from robolearn.schema import Feature, Schema
from robolearn.sim.control import ArmControl
from robolearn.sim.image_observations import ImageObservations
from robolearn.sim.kernels import write_poses
from robolearn.sim.randomization import Randomization
from robolearn.sim.randomizer import Randomizer
from robolearn.sim.stages import task_progress
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.task import Task
from robolearn.sim.vec_inputs import Seed, checked_actions, chosen_worlds, make_spaces, spread_seeds

Array = NDArray[np.float64]
Obs = dict[str, NDArray[Any]]
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


def make_schema(
    task: Task, robot: RobotSpec, *, action_space: str, fps: int, images: Mapping[str, Feature] | None = None
) -> Schema:
    """Channels of a task on a robot, the same for simulator, dataset, policy and controller; `images` are cameras'."""
    return Schema(
        features={
            "observation.state": state_feature(robot),
            "observation.environment_state": poses_feature(task.bodies, task.n_variants),
            **(images or {}),
            "action": make_action_space(action_space, robot=robot, dt=1 / fps).feature,
        },
        fps=fps,
    )


def poses_vector(state: WorldState, n_variants: int) -> NDArray[np.float32]:
    """`observation.environment_state` [n, dim]: pose of each body, then, where there is a choice, what is asked for."""
    n, k = state.body_pos.shape[:2]
    out = np.empty((n, POSE_DIM * k + (n_variants if n_variants > 1 else 0)), np.float32)
    write_poses(out, state.body_pos, state.body_quat)
    if n_variants > 1:
        out[:, POSE_DIM * k :] = np.eye(n_variants)[state.variant]
    return out


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
        randomization: Randomization | None = None,
        cameras: Sequence[str] = (),
        image_size: int = 84,
        depth: bool = False,
        segmentation: bool = False,
        threads: int = 1,
    ) -> None:
        """Wrap `worlds`.

        Args:
            worlds: the backend's worlds.
            action_space: one of `robolearn.action_space.ACTION_SPACES`; the task's own when None.
            fps: control rate in Hz.
            decimation: physics steps per control step.
            max_episode_steps: control steps until truncation; what the task needs when None.
            reward: "sparse" (1 on success), "stages" (1/K on reaching each of K stages, taken back where the world
                falls back) or "dense" (what the progress through stages and within them has gained). Both of the
                latter sum up to what an episode has achieved: neither pays for lingering before the goal.
            autoreset: restart finished worlds within the same step; else the caller resets by mask.
            randomization: what every episode draws anew besides its start; the start stays the same.
            cameras: names of those whose pictures are observed; see `robolearn.sim.cameras.cameras_of`.
            image_size: their width and height in pixels.
            depth: whether each camera also gives depth; see `robolearn.sim.image_observations`.
            segmentation: whether each camera also gives the ids of the geoms that it sees.
            threads: CPU threads that draw.
        """
        if reward not in REWARDS:
            raise UserError(f"unknown reward '{reward}'{nearest(reward, REWARDS)}")
        self.worlds, self.task, self.robot = worlds, worlds.task, worlds.robot
        self.num_envs = worlds.num_worlds
        space = self.task.action_space if action_space is None else action_space
        self._images: ImageObservations | None = None
        if cameras:
            self._images = ImageObservations(
                worlds, cameras, size=image_size, depth=depth, segmentation=segmentation, threads=threads
            )
        images = self._images.features if self._images is not None else {}
        self.schema = make_schema(self.task, self.robot, action_space=space, fps=fps, images=images)
        self.mapping = make_action_space(space, robot=self.robot, dt=1 / fps)
        self.instructions = [self.task.instructions[0][0]] * self.num_envs
        self.stage_names = self.task.stage_names
        self.max_episode_steps = self.task.max_episode_steps if max_episode_steps is None else max_episode_steps
        self._decimation, self._reward, self._autoreset = decimation, reward, autoreset
        self._before: Array = np.zeros(self.num_envs)
        mode = AutoresetMode.SAME_STEP if autoreset else AutoresetMode.DISABLED
        self.metadata = {"render_fps": fps, "autoreset_mode": mode, "render_modes": []}
        self.single_observation_space, self.single_action_space = make_spaces(self.schema)
        self.observation_boxes = self.single_observation_space.spaces
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._rng = [np.random.default_rng(i) for i in range(self.num_envs)]
        self._sent: Array = np.zeros((self.num_envs, self.robot.n_joints + 1))
        self._velocity: Array = np.zeros_like(self._sent)
        self._control = ArmControl(self.mapping, decimation=decimation, num_worlds=self.num_envs)
        self._elapsed = np.zeros(self.num_envs, np.int64)
        self._speed_up, self._slack = np.ones(self.num_envs), np.zeros(self.num_envs)
        self.randomizer: Randomizer | None = None
        if randomization is not None:
            self.randomizer = Randomizer(randomization, worlds, action_dim=self.schema.action.shape[0])

    def reset(self, *, seed: Seed = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Start episodes; see `robolearn.protocols.VecEnv.reset`."""
        for i, value in enumerate(spread_seeds(seed, self.num_envs)):
            if value is not None:
                self._rng[i] = np.random.default_rng(value)
                if self.randomizer is not None:
                    self.randomizer.seed(i, value)
        self._restart(chosen_worlds(options, self.num_envs))
        state = self.worlds.state
        return self._observe(state), self._info(state)

    def step(
        self, actions: NDArray[np.floating]
    ) -> tuple[Obs, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Advance one control step; see `robolearn.protocols.VecEnv.step`."""
        wanted = checked_actions(actions, self.schema.action, self.num_envs)
        self._move(wanted if self.randomizer is None else self.randomizer.act(wanted))
        self._elapsed += 1
        state = self.worlds.state
        info = self._info(state)
        terminated = info["success"] if self.task.lost is None else info["success"] | self.task.lost(state)
        truncated = ~terminated & (self._elapsed >= self.max_episode_steps)
        reward = self._rewards(info)
        observation = self._observe(state)
        done = np.flatnonzero(terminated | truncated)
        if self._autoreset and done.size:
            info["final_obs"] = observation
            info["_final_obs"] = terminated | truncated
            self._restart(done)
            observation = self._observe(self.worlds.state, changed=done)
        return observation, reward, terminated, truncated, info

    def relax(self, ids: NDArray[np.intp], *, speed: Array, joint_slack: Array) -> None:
        """Widen what worlds `ids` permit their arms, in simulation only.

        Args:
            ids: the worlds.
            speed: factor [len(ids)] on velocity and acceleration limits, at least 1.
            joint_slack: widening [len(ids)] of the joint limits, rad.
        """
        self._speed_up[ids], self._slack[ids] = speed, joint_slack

    def close_extras(self, **kwargs: Any) -> None:
        """Release the threads."""
        if self._images is not None:
            self._images.close()
        self.worlds.close()

    def _move(self, action: Array) -> None:
        path, self._velocity = self._control.path(
            self._sent,
            self._velocity,
            self.worlds.command_here(),
            action,
            speed_up=self._speed_up,
            joint_slack=self._slack,
        )
        self.worlds.follow_step(path)
        self._sent = path[:, -1]

    def _rewards(self, info: dict[str, Any]) -> Array:
        if self._reward == "sparse":
            return info["success"].astype(np.float64)
        reached = self._reached(info)
        gained, self._before = reached - self._before, reached
        return gained

    def _reached(self, info: dict[str, Any]) -> Array:
        """Share [num_envs] of the task that is done, as the reward counts it."""
        return info["progress"].copy() if self._reward == "dense" else info["stage"] / len(self.task.stages)

    def _restart(self, ids: NDArray[np.intp]) -> None:
        self.worlds.reset([self._rng[i] for i in ids], ids)
        if self.randomizer is not None:
            self.randomizer.begin(ids)
        self._sent[ids] = self.worlds.command_here()[ids]
        self._velocity[ids] = 0.0
        self._elapsed[ids] = 0
        if self._reward != "sparse":
            self._before[ids] = self._reached(self._info(self.worlds.state))[ids]
        for i in ids:
            phrasings = self.task.instructions[self.worlds.variant[i]]
            self.instructions[i] = phrasings[self._rng[i].integers(len(phrasings))]

    def _observe(self, state: WorldState, *, changed: NDArray[np.intp] | None = None) -> Obs:
        """Observations; `changed` worlds are the only ones that differ from those of the last call."""
        if self.randomizer is not None:
            state = self.randomizer.perceive(state)
        n, joints = state.joints.shape
        proprio = np.empty((n, joints + 1 + POSE_DIM), np.float32)
        proprio[:, :joints], proprio[:, joints] = state.joints, state.width
        write_poses(proprio, state.tool_pos[:, None], state.tool_quat[:, None], at=joints + 1)
        observation: Obs = {
            "observation.state": proprio,
            "observation.environment_state": poses_vector(state, self.task.n_variants),
        }
        if self._images is not None:
            look = None if self.randomizer is None else self.randomizer.look
            observation |= self._images.draw(look, changed=changed)
        return observation

    def _info(self, state: WorldState) -> dict[str, Any]:
        stage = self.task.stage(state)
        progress = task_progress(self.task.stages, state, stage)
        return {"success": stage == len(self.task.stages), "stage": stage, "progress": progress}
