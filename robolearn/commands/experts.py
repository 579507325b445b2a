"""The experts that demonstrate, by the `kind` of their configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robolearn.commands.common import load_checkpoint, policy_actor, policy_folder, use_one_thread
from robolearn.config import ExpertConfig
from robolearn.errors import UserError, nearest
from robolearn.eval.rollout import Actor

if TYPE_CHECKING:
    from robolearn.sim.backends.adapted import AdaptedVecEnv
    from robolearn.sim.experts.variation import Variation
    from robolearn.sim.vec_env import RobotVecEnv

    Worlds = RobotVecEnv | AdaptedVecEnv


def scripted(env: Worlds, config: ExpertConfig) -> Actor:
    """The script of the task, failing on purpose or varied if asked."""
    from robolearn.sim.backends.adapted import AdaptedVecEnv
    from robolearn.sim.experts.adapted import AdaptedExpert
    from robolearn.sim.experts.scripted import ScriptedExpert
    from robolearn.sim.failures import FailingExpert

    if isinstance(env, AdaptedVecEnv):
        if config.failure is not None:
            raise UserError(f"only our own tasks fail on purpose: leave out expert.failure={config.failure}")
        if asked := _asked(config):
            raise UserError(f"only the scripts of our own tasks vary: leave out {asked}")
        return AdaptedExpert(env.task_name, env.schema, env.num_envs, noise=config.noise)
    channels = env.task.name, env.schema, env.num_envs
    if config.failure is None:
        return ScriptedExpert(*channels, noise=config.noise, variation=_variation(config))
    return FailingExpert(*channels, failure=config.failure, noise=config.noise, variation=_variation(config))


def teacher(env: Worlds, config: ExpertConfig) -> Actor:
    """A teacher trained by `robolearn teach`."""
    from robolearn.rl.teacher import load_teacher

    if config.checkpoint is None:
        raise UserError("expert=teacher needs expert.checkpoint=FOLDER: the `out` of `robolearn teach`")
    use_one_thread()
    return load_teacher(Path(config.checkpoint), env.schema, noise=config.noise)


def policy(env: Worlds, config: ExpertConfig) -> Actor:
    """Any policy that `robolearn eval` can judge, with what fine-tuning put on top of it."""
    if config.checkpoint is None:
        raise UserError("this expert needs expert.checkpoint=FOLDER: the `out` of `robolearn train` or `finetune`")
    if config.noise:
        raise UserError("expert.noise is for scripts and teachers, not for policies: leave it out")
    use_one_thread()
    return policy_actor(env, *load_checkpoint(Path(config.checkpoint), env.schema))


EXPERTS: dict[str, Callable[[Worlds, ExpertConfig], Actor]] = {
    "scripted": scripted,
    "teacher": teacher,
    "policy": policy,
}


def make_expert(env: Worlds, config: ExpertConfig) -> Actor:
    """The expert that a configuration names, acting in all worlds of `env`.

    Raises:
        UserError: there is no such expert, or it cannot do the task.
    """
    if config.kind not in EXPERTS:
        raise UserError(f"unknown expert.kind '{config.kind}'{nearest(config.kind, EXPERTS)}")
    if config.failure is not None and config.kind != "scripted":
        raise UserError(f"only scripts fail on purpose: give expert=scripted for expert.failure={config.failure}")
    if config.kind != "scripted" and (asked := _asked(config)):
        raise UserError(f"only scripts vary: give expert=scripted for {asked}")
    return EXPERTS[config.kind](env, config)


def settings_of(config: ExpertConfig) -> dict[str, Any]:
    """What a dataset keeps of its expert: without variations that are off, as datasets from before there were any."""
    from robolearn.sim.experts.variation import Variation

    plain = asdict(Variation())
    return {key: value for key, value in asdict(config).items() if key not in plain or value != plain[key]}


def _variation(config: ExpertConfig) -> Variation:
    from robolearn.sim.experts.variation import Variation

    return Variation(speed=config.speed, pauses=config.pauses, drop=config.drop, stop=config.stop)


def _asked(config: ExpertConfig) -> str:
    """The variations that are not off, as they are written."""
    from robolearn.sim.experts.variation import Variation

    plain = asdict(Variation())
    return " ".join(f"expert.{key}={value}" for key, value in settings_of(config).items() if key in plain)


def expert_folder(config: ExpertConfig) -> Path | None:
    """The folder that an expert is read from, if any; of a training's `out` no more than that."""
    if config.checkpoint is None:
        return None
    return policy_folder(Path(config.checkpoint)) if config.kind == "policy" else Path(config.checkpoint)


def failure_of(expert: Actor, seed: int) -> str:
    """The failure that an expert provokes in the episode from `seed`, or an empty string."""
    from robolearn.sim.failures import FailingExpert

    return expert.failure_of(seed) if isinstance(expert, FailingExpert) else ""
