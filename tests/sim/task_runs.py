"""Whole episodes of a task, for its tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robolearn.eval.rollout import Episode, run_episodes
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.experts.scripted import ScriptedExpert


def demonstrate(task: str, seeds: int | Sequence[int], *, robot: str = "panda") -> list[Episode]:
    """Episodes of the clean expert from these seeds, or from 0 to n - 1, recorded; each in a world of its own."""
    chosen = range(seeds) if isinstance(seeds, int) else seeds
    env = MujocoVecEnv(task, robot, num_envs=len(chosen), autoreset=False)
    episodes = run_episodes(env, ScriptedExpert(task, env.schema, len(chosen)), chosen, record=True)
    env.close()
    return episodes


def first_seen(episode: Episode) -> list[int]:
    """Stages of an episode in the order in which they first come; the frame after the last action is not recorded."""
    stages, first = np.unique(episode.frames["observation.stage"], return_index=True)
    return stages[np.argsort(first)].tolist()


def succeed_by_chance(task: str, n: int) -> int:
    """How many of n episodes of random actions succeed."""
    env = MujocoVecEnv(task, num_envs=n, autoreset=False)
    env.reset(seed=0)
    env.action_space.seed(0)
    done = np.zeros(n, bool)
    for _ in range(env.max_episode_steps):
        done |= env.step(env.action_space.sample())[4]["success"]
    env.close()
    return int(done.sum())
