"""`robolearn eval`: success rate of a policy in simulation, with its interval."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from robolearn.commands.common import (
    console,
    evaluate,
    load_checkpoint,
    policy_actor,
    policy_folder,
    progress,
    save_result,
    success_rate,
    use_one_thread,
)
from robolearn.commands.strips import save_strips
from robolearn.commands.worlds import OWN, make_any_env, make_env
from robolearn.config import EnvConfig, EvalConfig, RobotConfig, TaskConfig
from robolearn.errors import UserError
from robolearn.eval.report import Row, print_table
from robolearn.eval.rollout import Episode
from robolearn.launch.episodes import pack, unpack
from robolearn.launch.job import Folder, Work
from robolearn.launch.launcher import Launcher, seed_blocks


@dataclass(frozen=True)
class Trials:
    """The job of running a policy's episodes.

    Attributes:
        task, robot, env: the worlds.
        checkpoint: the policy's folder.
        record: whether frames and poses are kept.
    """

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    checkpoint: Folder
    record: bool

    @contextmanager
    def open(self) -> Iterator[Work]:
        """See `robolearn.launch.job.Job.open`."""
        use_one_thread()
        env = make_any_env(self.task, self.robot, self.env)
        with self.checkpoint.here() as folder:
            policy, correction = load_checkpoint(folder, env.schema)
        actor = policy_actor(env, policy, correction)
        try:
            yield lambda seeds: pack(
                evaluate(env, actor, first_seed=seeds.start, episodes=len(seeds), record=self.record)
            )
        finally:
            env.close()


def run(config: EvalConfig) -> None:
    """Evaluate, print the table, and write results and film strips where `out` says."""
    if config.video and config.out is None:
        raise UserError("video=true needs a folder to write to: give out=FOLDER")
    launcher = Launcher(config.launcher, config.workers, config.ray.address, config.ray.cpus)
    episodes = _here(config) if launcher.alone else _launched(config, launcher)
    print_table([Row(config.checkpoint, success_rate(episodes))], console)
    if config.out is not None:
        _write(config, Path(config.out), episodes)


def _here(config: EvalConfig) -> list[Episode]:
    use_one_thread()
    env = make_any_env(config.task, config.robot, config.env)
    policy, correction = load_checkpoint(Path(config.checkpoint), env.schema)
    actor = policy_actor(env, policy, correction)
    record = config.out is not None
    episodes = evaluate(env, actor, first_seed=config.seed, episodes=config.episodes, label="evaluate", record=record)
    env.close()
    return episodes


def _launched(config: EvalConfig, launcher: Launcher) -> list[Episode]:
    """Run the episodes on workers; only those that are drawn keep their frames."""
    checkpoint = launcher.folder(policy_folder(Path(config.checkpoint)))
    env = replace(config.env, threads=1)  # workers fill the cores
    job = Trials(config.task, config.robot, env, checkpoint, record=config.out is not None)
    blocks = seed_blocks(config.seed, wanted=config.episodes, num_envs=env.num_envs, workers=launcher.workers)
    results = launcher.map(job, _until(config.seed + config.episodes, blocks))
    episodes: list[Episode] = []
    with progress("evaluate", config.episodes) as advance, closing(results):
        for result in results:
            for episode in unpack(result):
                drawn = all(before.success != episode.success for before in episodes)
                episodes.append(episode if drawn else replace(episode, frames={}))
                advance(1)
    return episodes


def _until(end: int, blocks: Iterator[range]) -> Iterator[range]:
    for seeds in blocks:
        if seeds.start >= end:
            return
        yield range(seeds.start, min(seeds.stop, end))


def _write(config: EvalConfig, out: Path, episodes: list[Episode]) -> None:
    outcomes = [{"seed": e.seed, "success": e.success, "length": e.length} for e in episodes]
    save_result(out / "episodes.json", {"checkpoint": config.checkpoint, "episodes": outcomes})
    if config.env.backend in OWN:
        env = make_env(config.task, config.robot, config.env, num_envs=1)
        for path in save_strips(out, env, episodes, video=config.video):
            console.print(f"picture {path}")
        env.close()
