"""Attempts of an expert in the order of their seeds, made by whatever launcher."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from robolearn.commands.experts import expert_folder, make_expert
from robolearn.commands.worlds import make_any_env
from robolearn.config import EnvConfig, ExpertConfig, RandomizationConfig, RobotConfig, TaskConfig
from robolearn.eval.rollout import Actor, Episode, run_episodes
from robolearn.launch.episodes import pack, unpack
from robolearn.launch.job import Folder, Work
from robolearn.launch.launcher import Launcher, seed_blocks

if TYPE_CHECKING:
    from robolearn.sim.backends.adapted import AdaptedVecEnv
    from robolearn.sim.vec_env import RobotVecEnv


@dataclass(frozen=True)
class Scenario:
    """Who demonstrates what: all that a process needs to make attempts.

    Attributes:
        task: what is done.
        robot: by which arm.
        env: in which worlds.
        expert: by whom.
        randomization: what differs between episodes, besides their start.
        linger: control steps for which a successful episode goes on.
    """

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    expert: ExpertConfig
    randomization: RandomizationConfig | None = None
    linger: int = 0

    def make(self) -> tuple[RobotVecEnv | AdaptedVecEnv, Actor]:
        """Worlds, and the expert that acts in them."""
        env = make_any_env(self.task, self.robot, self.env, randomization=self.randomization)
        return env, make_expert(env, self.expert)


@dataclass(frozen=True)
class Attempts:
    """The job of recording a scenario's episodes.

    Attributes:
        scenario: what to record.
        folder: of its expert, if it has one.
    """

    scenario: Scenario
    folder: Folder | None

    @contextmanager
    def open(self) -> Iterator[Work]:
        """See `robolearn.launch.job.Job.open`."""
        env, expert = self._make()
        try:
            yield lambda seeds: pack(run_episodes(env, expert, seeds, record=True, linger=self.scenario.linger))
        finally:
            env.close()

    def _make(self) -> tuple[RobotVecEnv | AdaptedVecEnv, Actor]:
        if self.folder is None:
            return self.scenario.make()
        with self.folder.here() as folder:
            expert = replace(self.scenario.expert, checkpoint=str(folder))
            return replace(self.scenario, expert=expert).make()


def attempt(scenario: Scenario, *, first_seed: int, wanted: int, launcher: Launcher) -> Generator[Episode]:
    """Yield recorded episodes of seeds `first_seed`, `first_seed + 1`, ... without end.

    Args:
        scenario: who demonstrates what.
        first_seed: of the first attempt.
        wanted: episodes that are needed about; decides how many a worker makes at a time, never what an episode is.
        launcher: who makes them.
    """
    if not launcher.alone:  # workers fill the cores
        scenario = replace(scenario, env=replace(scenario.env, threads=1))
    folder = expert_folder(scenario.expert)
    job = Attempts(scenario, None if folder is None else launcher.folder(folder))
    blocks = seed_blocks(first_seed, wanted=wanted, num_envs=scenario.env.num_envs, workers=launcher.workers)
    with closing(launcher.map(job, blocks)) as results:
        for result in results:
            yield from unpack(result)
