"""Trainings of `robolearn bench rl`: demonstrations and base policy once per task, then each run in its process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robolearn.acting import ChunkActor
from robolearn.bench._pool import kept, origin
from robolearn.bench._rl_judge import successes, time_actions, worlds
from robolearn.bench._rl_problems import EPISODES, LEARNED, OUT, PROBLEMS, Base, Run
from robolearn.bench._verbs import collect, finetune, told_to, train
from robolearn.commands.common import REPORT_SEED, SELECT_SEED
from robolearn.protocols import VecEnv

FIRST = (REPORT_SEED, SELECT_SEED)
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

    if (result := kept(one)) is not None:
        return one, result
    use_one_thread()
    one.folder.mkdir(parents=True, exist_ok=True)
    base = read_result(folder_of(one.task, one.base) / "base.json")
    claim(one.folder, {"base": one.settings["base"], "algorithm": one.algorithm})
    with told_to(one.folder / "log.txt"):
        found = _finetune(one) if one.outside is None else _learn_outside(one, one.outside)
    result = {"settings": one.settings, **origin(), "base": base, **found}
    save_result(one.record, result)
    return one, result


def judge(task: str, checkpoint: Path, *, first_seed: int = REPORT_SEED, candidates: int | None = None) -> list[bool]:
    """Successes of a checkpoint, by default on seeds that neither training nor the choice of weights saw."""
    with worlds(task) as env:
        return successes(env, _actor(env, checkpoint, candidates), first_seed=first_seed)


def act_ms(task: str, checkpoint: Path, *, candidates: int | None = None) -> dict[str, float]:
    """How long an action of a checkpoint takes; see `robolearn.bench._rl_judge.time_actions`."""
    with worlds(task, num_envs=1) as env:
        return time_actions(env, _actor(env, checkpoint, candidates))


def _actor(env: VecEnv, checkpoint: Path, candidates: int | None) -> ChunkActor:
    from robolearn.commands.common import load_checkpoint, policy_actor

    policy, correction = load_checkpoint(checkpoint, env.schema, candidates=candidates)
    return policy_actor(env, policy, correction)


def _demonstrate(task: str, base: Base) -> int:
    from robolearn.data.dataset import EpisodeDataset

    folder = demonstrations_of(task, base)
    words = (f"task={task}", "expert=scripted", f"expert.noise={base.noise}", "env.num_envs=10")
    collect(words, num_episodes=base.demonstrations, seed=0, out=folder)
    return EpisodeDataset.load(folder).num_frames


def _train(task: str, base: Base) -> None:
    words = (f"task={task}", *base.words)
    train(words, dataset=demonstrations_of(task, base), seed=0, out=folder_of(task, base) / TRAINING)


def _finetune(one: Run) -> dict[str, Any]:
    out, words = one.folder / TRAINING, one.words
    if one.estimator is not None:
        from robolearn.bench._reward_runs import learn_progress

        learned = f"shaping.potential={learn_progress(one.estimator)}"
        words = tuple(learned if word == LEARNED else word for word in words)
    curve = finetune(
        words,
        checkpoint=folder_of(one.task, one.base) / TRAINING,
        dataset=demonstrations_of(one.task, one.base),
        seed=one.seed,
        out=out,
    )
    return {"curve": curve, "outcomes": judge(one.task, out), "act_ms": act_ms(one.task, out)}


def _learn_outside(one: Run, options: Mapping[str, Any]) -> dict[str, Any]:
    from robolearn.bench import _sac_her

    return _sac_her.learn(
        one.task,
        options,
        dataset=demonstrations_of(one.task, one.base),
        budget=one.budget,
        every=PROBLEMS[one.problem].every,
        seed=one.seed,
    )
