"""Attempts of an expert in the order of their seeds, made in this process or by workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from robolearn.commands.experts import make_expert
from robolearn.commands.worlds import make_env
from robolearn.config import EnvConfig, ExpertConfig, RandomizationConfig, RobotConfig, TaskConfig
from robolearn.eval.rollout import Actor, Episode, run_episodes

if TYPE_CHECKING:
    from robolearn.sim.vec_env import RobotVecEnv

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Scenario:
    """Who demonstrates what: all that a process needs to make attempts."""

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    expert: ExpertConfig
    randomization: RandomizationConfig | None = None

    def make(self) -> tuple[RobotVecEnv, Actor]:
        """Worlds, and the expert that acts in them."""
        env = make_env(self.task, self.robot, self.env, randomization=self.randomization)
        return env, make_expert(env, self.expert)


def attempt(scenario: Scenario, *, first_seed: int, wanted: int, workers: int = 1) -> Generator[Episode]:
    """Yield recorded episodes of seeds `first_seed`, `first_seed + 1`, ... without end.

    Args:
        scenario: who demonstrates what.
        first_seed: of the first episode.
        wanted: how many the caller expects to take; says how large a block of seeds is, never what an episode is.
        workers: processes; one means this process.
    """
    num_envs = scenario.env.num_envs
    size = min(max(num_envs, -(-wanted // workers)), 2 * num_envs)
    blocks = (range(start, start + size) for start in count(first_seed, size))
    if workers == 1:
        return _here(scenario, blocks)
    return _elsewhere(scenario, blocks, workers)


def _here(scenario: Scenario, blocks: Iterator[range]) -> Generator[Episode]:
    env, expert = scenario.make()
    try:
        for seeds in blocks:
            yield from run_episodes(env, expert, seeds, record=True)
    finally:
        env.close()


def _elsewhere(scenario: Scenario, blocks: Iterator[range], workers: int) -> Generator[Episode]:
    """Blocks go round the workers, so that what comes back in turn is in the order of the seeds."""
    single = replace(scenario, env=replace(scenario.env, threads=1))
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(workers)]
    processes = [context.Process(target=_serve, args=(theirs, single), daemon=True) for _, theirs in pairs]
    try:
        with _environment(ONE_THREAD):  # libraries read it when a process imports them
            for process in processes:
                process.start()
        for (ours, theirs), seeds in zip(pairs, blocks):  # noqa: B905 (there is no end of blocks)
            theirs.close()
            ours.send(seeds)
        while True:
            for ours, _ in pairs:
                answer = _receive(ours)
                ours.send(next(blocks))
                yield from answer
    finally:
        for process in processes:
            if process.pid is not None:
                process.terminate()
                process.join()


def _receive(pipe: Connection) -> list[Episode]:
    try:
        answer = pipe.recv()
    except EOFError:
        raise RuntimeError("a worker ended early; its message is above") from None
    if isinstance(answer, Exception):
        raise answer
    episodes: list[Episode] = answer
    return episodes


def _serve(pipe: Connection, scenario: Scenario) -> None:
    """A worker's life: run the blocks of seeds that come through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key press reaches all processes; the parent tells the workers
    try:
        env, expert = scenario.make()
        while True:
            pipe.send(run_episodes(env, expert, pipe.recv(), record=True))
    except (EOFError, BrokenPipeError):
        return  # the parent is gone
    except Exception as error:
        pipe.send(error)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
