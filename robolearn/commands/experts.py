"""The experts that demonstrate, by the `kind` of their configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from robolearn.commands.common import use_one_thread
from robolearn.config import ExpertConfig
from robolearn.errors import UserError, nearest
from robolearn.eval.rollout import Actor

if TYPE_CHECKING:
    from robolearn.sim.vec_env import RobotVecEnv


def scripted(env: RobotVecEnv, config: ExpertConfig) -> Actor:
    """The script of the task, failing on purpose if asked."""
    from robolearn.sim.experts.scripted import ScriptedExpert
    from robolearn.sim.failures import FailingExpert

    channels = env.task.name, env.schema, env.num_envs
    if config.failure is None:
        return ScriptedExpert(*channels, noise=config.noise)
    return FailingExpert(*channels, failure=config.failure, noise=config.noise)


def teacher(env: RobotVecEnv, config: ExpertConfig) -> Actor:
    """A teacher trained by `robolearn teach`."""
    from robolearn.rl.teacher import load_teacher

    if config.checkpoint is None:
        raise UserError("expert=teacher needs expert.checkpoint=FOLDER: the `out` of `robolearn teach`")
    use_one_thread()
    return load_teacher(Path(config.checkpoint), env.schema, noise=config.noise)


EXPERTS: dict[str, Callable[[RobotVecEnv, ExpertConfig], Actor]] = {"scripted": scripted, "teacher": teacher}


def make_expert(env: RobotVecEnv, config: ExpertConfig) -> Actor:
    """The expert that a configuration names, acting in all worlds of `env`.

    Raises:
        UserError: there is no such expert, or it cannot do the task.
    """
    if config.kind not in EXPERTS:
        raise UserError(f"unknown expert.kind '{config.kind}'{nearest(config.kind, EXPERTS)}")
    if config.failure is not None and config.kind != "scripted":
        raise UserError(f"only scripts fail on purpose: give expert=scripted for expert.failure={config.failure}")
    return EXPERTS[config.kind](env, config)


def failure_of(expert: Actor, seed: int) -> str:
    """The failure that an expert provokes in the episode from `seed`, or an empty string."""
    from robolearn.sim.failures import FailingExpert

    return expert.failure_of(seed) if isinstance(expert, FailingExpert) else ""
