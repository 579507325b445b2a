"""`robolearn collect`: demonstrations from an expert into a LeRobot v3 dataset."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from robolearn.commands.attempts import Scenario, attempt
from robolearn.commands.common import claim, console, progress, save_result
from robolearn.commands.experts import failure_of, settings_of
from robolearn.config import CollectConfig
from robolearn.data import layout
from robolearn.data.dataset import EpisodeDataset
from robolearn.errors import UserError
from robolearn.eval.quality import Quality, demonstration_quality
from robolearn.eval.rollout import Actor, Episode
from robolearn.launch.launcher import HERE, Launcher
from robolearn.schema import Schema

if TYPE_CHECKING:
    from robolearn.data.writer import DatasetWriter
    from robolearn.sim.backends.adapted import AdaptedVecEnv
    from robolearn.sim.vec_env import RobotVecEnv

FRUITLESS = 500  # attempts without a success after which the expert is given up


def run(config: CollectConfig) -> None:
    """Collect, and say what was written."""
    quality = collect(
        Scenario(config.task, config.robot, config.env, config.expert, config.randomization, config.linger),
        num_episodes=config.num_episodes,
        seed=config.seed,
        out=Path(config.out),
        success_only=config.success_only,
        video=config.video,
        language=config.language,
        launcher=Launcher(config.launcher, config.workers, config.ray.address, config.ray.cpus),
    )
    console.print(f"{quality.episodes} episodes of {quality.success.episodes} attempts in {config.out}")
    console.print(str(quality), markup=False, highlight=False)


def collect(
    scenario: Scenario,
    *,
    num_episodes: int,
    seed: int,
    out: Path,
    success_only: bool = True,
    video: bool = True,
    language: bool = False,
    launcher: Launcher = HERE,
) -> Quality:
    """Write episodes from seeds `seed`, `seed + 1`, ... and `collect.json`; a killed run goes on where it was.

    Args:
        scenario: who demonstrates what; neither its number of worlds nor `launcher` changes what is written.
        num_episodes: episodes to keep.
        seed: of the first attempt.
        out: folder of the dataset.
        success_only: keep successes only; else whatever happens.
        video: store what cameras see as videos; else as PNG in the data files.
        language: write LeRobot's language columns too, see `robolearn.data.language`.
        launcher: who simulates.

    Raises:
        UserError: the folder is of another collection, the expert does not succeed, or pictures make no video.
    """
    from robolearn.data.episode_checks import require_writable
    from robolearn.data.writer import DatasetWriter

    env, expert = replace(scenario, env=replace(scenario.env, num_envs=1, threads=1)).make()
    env.close()
    require_writable(env.schema, video=video)
    sentences = _sentences(env) if language else ()
    if success_only and scenario.expert.failure is not None:
        raise UserError(f"expert.failure={scenario.expert.failure} is there to fail: add success_only=false")
    settings = {
        "task": asdict(scenario.task),
        "robot": scenario.robot.name,
        "expert": settings_of(scenario.expert),
        "randomization": asdict(scenario.randomization) if scenario.randomization else None,
        "seed": seed,
        "success_only": success_only,
    }
    if scenario.linger:  # folders from before there was any resume
        settings["linger"] = scenario.linger
    claim(out, settings)
    writer = DatasetWriter(
        out,
        _channels(env.schema, out),
        robot_type=_robot_type(env, scenario),
        stage_names=env.stage_names,
        stage_sentences=sentences,
        video=video,
    )
    if writer.num_episodes < num_episodes:
        _fill(
            writer, scenario, expert, num_episodes=num_episodes, seed=seed, success_only=success_only, launcher=launcher
        )
    writer.finalize()
    data = EpisodeDataset.load(out)
    quality = demonstration_quality(data, attempts=data.columns["seed"][-1] + 1 - seed)
    save_result(out / "collect.json", quality.to_dict())
    return quality


def _channels(observed: Schema, out: Path) -> Schema:
    """The channels of a dataset: progress too, unless what is in `out` was begun before progress was recorded."""
    own = out / layout.OWN_SCHEMA
    if own.exists() and layout.PROGRESS not in Schema.load(own):
        return observed
    return Schema({**observed.features, layout.PROGRESS: layout.PROGRESS_FEATURE}, observed.fps)


def _robot_type(env: RobotVecEnv | AdaptedVecEnv, scenario: Scenario) -> str:
    from robolearn.sim.backends.adapted import AdaptedVecEnv

    return env.robot if isinstance(env, AdaptedVecEnv) else scenario.robot.name


def _sentences(env: RobotVecEnv | AdaptedVecEnv) -> list[str]:
    """What the robot does in each stage."""
    from robolearn.sim.backends.adapted import AdaptedVecEnv

    if isinstance(env, AdaptedVecEnv):
        raise UserError(f"language=true says what is done in each stage, and '{env.task_name}' has none")
    return [stage.sentence for stage in env.task.stages]


def _fill(
    writer: DatasetWriter,
    scenario: Scenario,
    expert: Actor,
    *,
    num_episodes: int,
    seed: int,
    success_only: bool,
    launcher: Launcher,
) -> None:
    kept = EpisodeDataset.load(writer.root).columns if writer.num_episodes else {"seed": [seed - 1], "success": []}
    first, successes, fruitless = kept["seed"][-1] + 1, sum(kept["success"]), 0
    attempts = attempt(scenario, first_seed=first, wanted=num_episodes - writer.num_episodes, launcher=launcher)
    with progress("collect", num_episodes) as advance, closing(attempts):
        advance(writer.num_episodes)
        for episode in attempts:
            successes += episode.success
            fruitless = 0 if episode.success else fruitless + 1
            keep = episode.success or not success_only
            if keep:
                _write(writer, episode, failure_of(expert, episode.seed))
            advance(keep, f"success {successes / (episode.seed + 1 - seed):.0%}")
            if writer.num_episodes == num_episodes:
                return
            if success_only and fruitless > FRUITLESS:
                raise UserError(f"the expert failed {fruitless} times in a row: lower expert.noise, or give another")


def _write(writer: DatasetWriter, episode: Episode, failure: str) -> None:
    writer.add_episode(
        {key: episode.frames[key] for key in writer.schema if key != layout.STAGE},
        task=episode.instruction,
        stage=episode.frames[layout.STAGE],
        seed=episode.seed,
        success=episode.success,
        failure=failure,
    )
