"""Worlds of a task, and how those who act in them are judged: the same for every algorithm."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from robolearn.bench._rl_problems import EPISODES
from robolearn.eval.rollout import Actor
from robolearn.protocols import VecEnv

TIMED_STEPS = 100


@contextmanager
def worlds(task: str, *, num_envs: int | None = None) -> Iterator[VecEnv]:
    """Worlds of a task on one thread, as many as `robolearn eval` has unless told otherwise."""
    from robolearn.commands.worlds import make_any_env
    from robolearn.compose import build, compose

    config = build("eval", compose("eval", [f"task={task}", "env.threads=1", "checkpoint=none"]))
    env = make_any_env(config.task, config.robot, config.env, num_envs=num_envs)
    try:
        yield env
    finally:
        env.close()


def successes(env: VecEnv, actor: Actor, *, first_seed: int) -> list[bool]:
    """Which of `EPISODES` episodes succeed."""
    from robolearn.commands.common import evaluate

    episodes = evaluate(env, actor, first_seed=first_seed, episodes=EPISODES)
    return [episode.success for episode in episodes]


def time_actions(env: VecEnv, actor: Actor) -> dict[str, float]:
    """How long an action takes in a single world, in ms: mean, and the 99th percentile, where a chunk is planned."""
    from robolearn.commands.common import REPORT_SEED
    from robolearn.language import TASK

    times = []
    actor.reset([0])
    observation, _ = env.reset(seed=REPORT_SEED)
    for _ in range(min(TIMED_STEPS, env.max_episode_steps)):
        start = time.perf_counter()
        action = actor.act({**observation, TASK: np.array(env.instructions)})
        times.append(1e3 * (time.perf_counter() - start))
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated[0] or truncated[0]:
            break
    return {"mean": float(np.mean(times)), "p99": float(np.quantile(times, 0.99))}
