"""Trainings of `robolearn bench rl`: demonstrations and base policy once per task, then each run in its process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robolearn.acting import ChunkActor
from robolearn.bench._pool import kept
from robolearn.bench._rl_problems import EPISODES, OUT, Base, Run
from robolearn.bench._verbs import collect, finetune, told_to, train
from robolearn.commands.common import REPORT_SEED, SELECT_SEED
from robolearn.protocols import VecEnv

FIRST = (REPORT_SEED, SELECT_SEED)
TIMED_STEPS = 100
TRAINING = "training"  # folder of what is trained, in that of a base or a run


def prepare(task: str, base: Base) -> dict[str, Any]:
    """Collect demonstrations, train the base policy on them and judge it, unless that is done; return what is known.

    Returns:
        "success" of the base on the seeds of reports, "success_in_evaluations" on those of learning curves, and
        "steps", the control steps of the demonstrations.

    Raises:
        UserError: what is there was made with other settings.
    """
    from robolearn.commands.common import claim, read_result, save_result

    folder = folder_of(task, base)
    known = read_result(folder / "base.json")
    claim(folder, {"words": list(base.words)})
    if known is None:
        with told_to(folder / "log.txt"):
            steps = _demonstrate(task, base)
            _train(task, base)
            rates = [sum(judge(task, folder / TRAINING, first_seed=first)) / EPISODES for first in FIRST]
        known = {"steps": steps, "success": rates[0], "success_in_evaluations": rates[1]}
        save_result(folder / "base.json", known)
    return known


def demonstrations_of(task: str, base: Base) -> Path:
    """Where demonstrations of a task are kept."""
    return OUT / "bases" / f"{task}-{base.demonstrations}-noise{base.noise}"


def folder_of(task: str, base: Base) -> Path:
    """Where a base is kept."""
    return OUT / "bases" / f"{task}-{base.demonstrations}-noise{base.noise}-{base.name}"


def finish(one: Run) -> tuple[Run, dict[str, Any]]:
    """Train, or go on training, and judge what came of it; return the run and its result."""
    from robolearn.commands.common import claim, read_result, save_result, use_one_thread
    from robolearn.eval.machine import commit

    if (result := kept(one)) is not None:
        return one, result
    use_one_thread()
    one.folder.mkdir(parents=True, exist_ok=True)
    base = read_result(folder_of(one.task, one.base) / "base.json")
    claim(one.folder, {"base": one.settings["base"], "algorithm": one.algorithm})
    with told_to(one.folder / "log.txt"):
        curve = _finetune(one)
        outcomes = judge(one.task, one.folder / TRAINING)
        latency = act_ms(one.task, one.folder / TRAINING)
    result = {
        "settings": one.settings,
        "commit": commit(),
        "base": base,
        "curve": curve,
        "act_ms": latency,
        "outcomes": outcomes,
    }
    save_result(one.record, result)
    return one, result


def judge(task: str, checkpoint: Path, *, first_seed: int = REPORT_SEED, candidates: int | None = None) -> list[bool]:
    """Successes of a checkpoint, by default on seeds that neither training nor the choice of weights saw."""
    from robolearn.commands.common import evaluate

    with _acting(task, checkpoint, candidates=candidates) as (env, actor):
        episodes = evaluate(env, actor, first_seed=first_seed, episodes=EPISODES)
    return [episode.success for episode in episodes]


def act_ms(task: str, checkpoint: Path, *, candidates: int | None = None) -> dict[str, float]:
    """How long an action takes in one world, in ms: mean, and the 99th percentile, where a chunk is planned."""
    import numpy as np

    from robolearn.language import TASK

    with _acting(task, checkpoint, num_envs=1, candidates=candidates) as (env, actor):
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


@contextmanager
def _acting(
    task: str, checkpoint: Path, *, num_envs: int | None = None, candidates: int | None = None
) -> Iterator[tuple[VecEnv, ChunkActor]]:
    """Worlds of a task and who acts in them."""
    from robolearn.commands.common import load_checkpoint, policy_actor
    from robolearn.commands.worlds import make_any_env
    from robolearn.compose import build, compose

    config = build("eval", compose("eval", [f"task={task}", "env.threads=1", "checkpoint=none"]))
    env = make_any_env(config.task, config.robot, config.env, num_envs=num_envs)
    try:
        policy, correction = load_checkpoint(checkpoint, env.schema, candidates=candidates)
        yield env, policy_actor(env, policy, correction)
    finally:
        env.close()


def _demonstrate(task: str, base: Base) -> int:
    from robolearn.data.dataset import EpisodeDataset

    folder = demonstrations_of(task, base)
    words = (f"task={task}", "expert=scripted", f"expert.noise={base.noise}", "env.num_envs=10")
    collect(words, num_episodes=base.demonstrations, seed=0, out=folder)
    return EpisodeDataset.load(folder).num_frames


def _train(task: str, base: Base) -> None:
    words = (f"task={task}", *base.words)
    train(words, dataset=demonstrations_of(task, base), seed=0, out=folder_of(task, base) / TRAINING)


def _finetune(one: Run) -> list[dict[str, float]]:
    return finetune(
        one.words,
        checkpoint=folder_of(one.task, one.base) / TRAINING,
        dataset=demonstrations_of(one.task, one.base),
        seed=one.seed,
        out=one.folder / TRAINING,
    )
