"""One episode of `lift` with random actions, as our environment runs it and as bare physics."""

from __future__ import annotations

from typing import Any, cast

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from robolearn.bench._turns import Turn, turn
from robolearn.sim.backends.layout import Layout, substeps
from robolearn.sim.backends.mujoco import CTRL, Worlds
from robolearn.sim.robots import get_robot
from robolearn.sim.tasks import make_task
from robolearn.sim.vec_env import RobotVecEnv, WorldBatch

Array = NDArray[np.float64]
FPS = 20
EPISODE_STEPS = 80
SEED = 0


class Recorder:
    """Worlds that keep the commands sent to them.

    Attributes:
        commands: [num_worlds, nstep, n_joints + 1] of each control step.
    """

    def __init__(self, worlds: WorldBatch) -> None:
        """Listen to `worlds`."""
        self._worlds = worlds
        self.commands: list[Array] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worlds, name)

    def follow_step(self, controls: Array) -> None:
        """Keep the commands and pass them on."""
        self.commands.append(controls.copy())
        self._worlds.follow_step(controls)


def environment(worlds: WorldBatch) -> RobotVecEnv:
    """Worlds of `lift` with state observations and dense reward; the caller resets them."""
    decimation = substeps(fps=FPS, timestep=worlds.model.opt.timestep)
    return RobotVecEnv(
        worlds, fps=FPS, decimation=decimation, max_episode_steps=EPISODE_STEPS, reward="dense", autoreset=False
    )


def panda_worlds(num_worlds: int, *, threads: int = 1, timestep: float = 0.005) -> Worlds:
    """Our scene with the Panda."""
    return Worlds(make_task("lift"), get_robot("panda"), num_worlds=num_worlds, threads=threads, timestep=timestep)


def random_actions(env: RobotVecEnv, steps: int = EPISODE_STEPS) -> NDArray[np.float32]:
    """Uniform actions [steps, num_envs, action_dim]."""
    low, high = (np.array(bound) for bound in (env.schema.action.low, env.schema.action.high))
    shape = (steps, env.num_envs, *env.schema.action.shape)
    return np.random.default_rng(SEED).uniform(low, high, shape).astype(np.float32)


def episode(env: RobotVecEnv, actions: NDArray[np.float32]) -> int:
    """Reset all worlds, then step with `actions`; returns the number of control steps of all worlds together."""
    env.reset(seed=SEED)
    for action in actions:
        env.step(action)
    return actions.shape[0] * actions.shape[1]


def ours(worlds: WorldBatch) -> Turn:
    """Episodes with everything that a learner gets: observations, rewards, resets."""
    env = environment(worlds)
    actions = random_actions(env)
    return turn(lambda: episode(env, actions))


def commands_of_episode(worlds: WorldBatch) -> tuple[Array, Array]:
    """Where the same episode starts [num_worlds, nq] and all its commands [num_worlds, steps, n_joints + 1]."""
    recorder = Recorder(worlds)
    env = environment(cast(WorldBatch, recorder))
    env.reset(seed=SEED)
    start = worlds.qpos.copy()
    episode(env, random_actions(env))
    return start, np.concatenate(recorder.commands, axis=1)


def physics(worlds: Worlds, *, threads: int = 1) -> Turn:
    """The same episodes as bare `mj_step`: the limit for everything that is built on this scene.

    The commands of each physics step are replayed by one call of MuJoCo's batch for the whole episode. No action is
    interpreted, nothing is observed, and each world stays in the processor's cache until its episode is over.
    """
    start, commands = commands_of_episode(worlds)
    controls = Layout(worlds.model, worlds.task, worlds.robot).controls(commands)
    return turn(Replay(worlds.model, start, controls, threads=threads))


class Replay:
    """Bare episodes: where they start and the controls of every physics step.

    Attributes:
        qpos: present positions [n, nq], live.
    """

    def __init__(self, model: mujoco.MjModel, start: Array, controls: Array, *, threads: int = 1) -> None:
        """Prepare for positions [n, nq] and controls [n, steps, nu]."""
        self._batch = Batch(model, nsim=len(start), nthread=threads)
        self._start, self._controls = start, controls
        self.qpos: Array = self._batch.bind("qpos")

    def __call__(self) -> int:
        """Run one episode in every world; returns the number of control steps of all worlds together."""
        self._batch.reset(stage=mujoco.mjtStage.mjSTAGE_NONE)
        self.qpos[:] = self._start
        self._batch.rollout(self._controls.shape[1], control=self._controls, control_spec=CTRL, record=())
        return EPISODE_STEPS * len(self._start)
