"""`robolearn collect`: demonstrations from an expert into a LeRobot v3 dataset."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from robolearn.commands.common import claim, console, make_env, progress
from robolearn.config import CollectConfig, EnvConfig, ExpertConfig, RobotConfig, TaskConfig
from robolearn.errors import UserError, nearest
from robolearn.eval.rollout import Episode, run_episodes

if TYPE_CHECKING:
    from robolearn.data.writer import DatasetWriter
    from robolearn.sim.experts.scripted import ScriptedExpert
    from robolearn.sim.vec_env import RobotVecEnv

EXPERTS = ("scripted",)
FRUITLESS = 500  # attempts without a success after which the expert is given up


def run(config: CollectConfig) -> None:
    """Collect, and say what was written."""
    attempts = collect(
        config.task,
        config.robot,
        config.env,
        config.expert,
        episodes=config.episodes,
        seed=config.seed,
        out=Path(config.out),
    )
    console.print(f"{config.episodes} successful episodes of {attempts} attempts in {config.out}")


def make_expert(env: RobotVecEnv, config: ExpertConfig) -> ScriptedExpert:
    """The expert that a configuration names."""
    from robolearn.sim.experts.scripted import ScriptedExpert

    if config.kind not in EXPERTS:
        raise UserError(f"unknown expert.kind '{config.kind}'{nearest(config.kind, EXPERTS)}")
    return ScriptedExpert(env.task.name, env.schema, env.num_envs, noise=config.noise)


def collect(
    task: TaskConfig,
    robot: RobotConfig,
    env_config: EnvConfig,
    expert_config: ExpertConfig,
    *,
    episodes: int,
    seed: int,
    out: Path,
) -> int:
    """Write the first `episodes` successes from seeds `seed`, `seed + 1`, ...; a killed run goes on where it was.

    Returns:
        Attempts that this took, failures included.
    """
    from robolearn.data.dataset import EpisodeDataset
    from robolearn.data.writer import DatasetWriter

    env = make_env(task, robot, env_config)
    expert = make_expert(env, expert_config)
    claim(out, {"task": asdict(task), "robot": robot.name, "expert": asdict(expert_config), "seed": seed})
    writer = DatasetWriter(out, env.schema, robot_type=robot.name, stage_names=env.stage_names)
    following = seed
    if writer.num_episodes:
        following = int(EpisodeDataset.load(out).columns["seed"][-1]) + 1
    with progress("collect", episodes) as advance:
        advance(min(writer.num_episodes, episodes))
        since_success = 0
        while writer.num_episodes < episodes:
            block = range(following, following + 2 * env.num_envs)
            for episode in run_episodes(env, expert, block, record=True):
                following = episode.seed + 1
                since_success = 0 if episode.success else since_success + 1
                if episode.success:
                    _write(writer, env, episode)
                    advance(1)
                if writer.num_episodes == episodes:
                    break
            if since_success > FRUITLESS:
                raise UserError(f"the expert failed {since_success} times in a row: lower expert.noise")
    writer.finalize()
    env.close()
    return int(EpisodeDataset.load(out).columns["seed"][-1]) + 1 - seed


def _write(writer: DatasetWriter, env: RobotVecEnv, episode: Episode) -> None:
    channels = {key: episode.frames[key] for key in env.schema}
    stage = episode.frames["observation.stage"]
    writer.add_episode(
        channels, task=episode.instruction, stage=stage, seed=episode.seed, success=episode.success
    )
