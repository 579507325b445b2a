"""`robolearn eval`: success rate of a policy in simulation, with its interval."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from robolearn.commands.worlds import OWN, backend_of, make_any_env, make_env
from robolearn.config import EnvConfig, EvalConfig, RobotConfig, TaskConfig
from robolearn.errors import UserError
from robolearn.eval.instructions import teller
from robolearn.eval.report import Row, print_table
from robolearn.eval.rollout import Episode, Tell
from robolearn.launch.episodes import pack, unpack
from robolearn.launch.job import Folder, Work
from robolearn.launch.launcher import Launcher, seed_blocks
from robolearn.protocols import Policy, VecEnv


@dataclass(frozen=True)
class Trials:
    """The job of running a policy's episodes.

    Attributes:
        task, robot, env: the worlds.
        checkpoint: the policy's folder.
        record: whether frames and poses are kept.
        phrasings, instruction: what the policy is told; see `robolearn.eval.instructions.teller`.
        candidates: see `robolearn.commands.common.load_checkpoint`.
    """

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    checkpoint: Folder
    record: bool
    phrasings: str
    instruction: str | None
    candidates: int | None

    @contextmanager
    def open(self) -> Iterator[Work]:
        """See `robolearn.launch.job.Job.open`."""
        use_one_thread()
        env = make_any_env(self.task, self.robot, self.env)
        with self.checkpoint.here() as folder:
            policy, correction = load_checkpoint(folder, env.schema, candidates=self.candidates)
        tell = _teller(env, self.phrasings, self.instruction, policy)
        actor = policy_actor(env, policy, correction)
        try:
            yield lambda seeds: pack(
                evaluate(env, actor, first_seed=seeds.start, episodes=len(seeds), record=self.record, tell=tell)
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
    policy, correction = load_checkpoint(Path(config.checkpoint), env.schema, candidates=config.candidates)
    tell = _teller(env, config.phrasings, config.instruction, policy)
    actor = policy_actor(env, policy, correction)
    episodes = evaluate(
        env,
        actor,
        first_seed=config.seed,
        episodes=config.episodes,
        label="evaluate",
        record=config.out is not None,
        tell=tell,
    )
    env.close()
    return episodes


def _launched(config: EvalConfig, launcher: Launcher) -> list[Episode]:
    """Run the episodes on workers; only those that are drawn keep their frames."""
    checkpoint = launcher.folder(policy_folder(Path(config.checkpoint)))
    env = replace(config.env, threads=1)  # workers fill the cores
    job = Trials(
        config.task,
        config.robot,
        env,
        checkpoint,
        record=config.out is not None,
        phrasings=config.phrasings,
        instruction=config.instruction,
        candidates=config.candidates,
    )
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


def _teller(env: VecEnv, phrasings: str, instruction: str | None, policy: Policy) -> Tell | None:
    """What the policy is told, by the phrasings of the task where it has any."""
    tell = teller(phrasings, instruction=instruction, **_phrases(env))
    if tell is not None and not policy.reads_task:
        raise UserError("the policy reads no instruction, so it makes no difference what it is told: leave that out")
    return tell


def _phrases(env: VecEnv) -> dict[str, Any]:
    task = getattr(env, "task", None)
    return {} if task is None else {"seen": task.instructions, "held_out": task.held_out}


def _write(config: EvalConfig, out: Path, episodes: list[Episode]) -> None:
    outcomes = [
        {"seed": e.seed, "success": e.success, "length": e.length, "instruction": e.instruction, "told": e.told}
        for e in episodes
    ]
    told = {"phrasings": config.phrasings, "instruction": config.instruction}
    save_result(out / "episodes.json", {"checkpoint": config.checkpoint, **told, "episodes": outcomes})
    if backend_of(config.task, config.env) in OWN:
        env = make_env(config.task, config.robot, config.env, num_envs=1)
        for path in save_strips(out, env, episodes, video=config.video):
            console.print(f"picture {path}")
        env.close()
