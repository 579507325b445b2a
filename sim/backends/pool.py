"""Single worlds, many together: one after the other in this process, or spread over worker processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.schema import Schema


@dataclass(frozen=True)
class Outcome:
    """What one world shows after a reset or a step.

    Attributes:
        observation: the schema's observation channels, without batch axis.
        instruction: what the present episode asks for.
        success: whether the task is done.
        progress: of the task, in [0, 1].
        reward: the environment's own.
        terminated: the environment says that the episode is over, done or failed.
        truncated: the environment cut the episode short.
    """

    observation: dict[str, NDArray[Any]]
    instruction: str
    success: bool = False
    progress: float = 0.0
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False


class World(Protocol):
    """One world of somebody else's environment.

    Attributes:
        schema: its channels.
        max_episode_steps: control steps that an episode lasts at most.
    """

    schema: Schema
    max_episode_steps: int

    def reset(self, seed: int) -> Outcome:
        """Start the episode that follows from `seed` alone."""

    def step(self, action: NDArray[np.float64]) -> Outcome:
        """Advance one control step with an action [action_dim] within its bounds."""

    def close(self) -> None:
        """Release what the world holds."""


class Pool(Protocol):
    """Worlds 0, 1, ... of one kind."""

    schema: Schema
    max_episode_steps: int

    def reset(self, seeds: Mapping[int, int]) -> dict[int, Outcome]:
        """Start episodes: seed by world -> outcome by world."""

    def step(self, actions: NDArray[np.float64]) -> list[Outcome]:
        """Advance all worlds one control step with actions [num_worlds, action_dim]."""

    def close(self) -> None:
        """Release all worlds."""


class LocalPool:
    """Worlds in this process, one after the other."""

    def __init__(self, make: Callable[[], World], num_worlds: int) -> None:
        """Make the worlds."""
        self._worlds = [make() for _ in range(num_worlds)]
        self.schema, self.max_episode_steps = self._worlds[0].schema, self._worlds[0].max_episode_steps

    def reset(self, seeds: Mapping[int, int]) -> dict[int, Outcome]:
        """See `Pool.reset`."""
        return {i: self._worlds[i].reset(seed) for i, seed in seeds.items()}

    def step(self, actions: NDArray[np.float64]) -> list[Outcome]:
        """See `Pool.step`."""
        return [world.step(action) for world, action in zip(self._worlds, actions, strict=True)]

    def close(self) -> None:
        """See `Pool.close`."""
        for world in self._worlds:
            world.close()


class ProcessPool:
    """Worlds spread over fresh ("spawn") processes, each with a `LocalPool` of consecutive worlds.

    As always with spawned processes, a script that makes one keeps its work under `if __name__ == "__main__":`.
    """

    def __init__(self, make: Callable[[], World], num_worlds: int, processes: int) -> None:
        """Start the processes; `make` must be importable in them (a class or function of a module, or a partial)."""
        self._owned = np.array_split(np.arange(num_worlds), processes)
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        try:
            for owned in self._owned:
                self._start(make, len(owned))
            self.schema, self.max_episode_steps = self._answers()[0]
        except BaseException:
            self.close()
            raise

    def _start(self, make: Callable[[], World], num_worlds: int) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._pipes.append(ours)
        process = context.Process(target=_serve, args=(theirs, make, num_worlds), daemon=True)
        process.start()
        self._processes.append(process)
        theirs.close()  # the process holds the other end alone, so that its death ends a wait here

    def reset(self, seeds: Mapping[int, int]) -> dict[int, Outcome]:
        """See `Pool.reset`."""
        for pipe, owned in zip(self._pipes, self._owned, strict=True):
            pipe.send(("reset", {k: seeds[i] for k, i in enumerate(owned.tolist()) if i in seeds}))
        parts = zip(self._owned, self._answers(), strict=True)
        return {int(owned[k]): outcome for owned, part in parts for k, outcome in part.items()}

    def step(self, actions: NDArray[np.float64]) -> list[Outcome]:
        """See `Pool.step`."""
        for pipe, owned in zip(self._pipes, self._owned, strict=True):
            pipe.send(("step", actions[owned]))
        return [outcome for part in self._answers() for outcome in part]

    def close(self) -> None:
        """See `Pool.close`."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()

    def _answers(self) -> list[Any]:
        """One answer of each process; all are awaited before an error is raised, so that none is left in a pipe."""
        answers = [self._answer(k) for k in range(len(self._pipes))]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def _answer(self, k: int) -> Any:
        try:
            return self._pipes[k].recv()
        except EOFError:
            return RuntimeError(f"the process of worlds {self._owned[k].tolist()} ended; its message is above")


def _serve(pipe: Connection, make: Callable[[], World], num_worlds: int) -> None:
    """A worker's life: make the worlds, then answer until the pipe is closed."""
    try:
        pool = LocalPool(make, num_worlds)
        pipe.send((pool.schema, pool.max_episode_steps))
    except Exception as error:
        pipe.send(error)
        return
    while True:
        try:
            name, argument = pipe.recv()
        except EOFError:
            break
        try:
            pipe.send(getattr(pool, name)(argument))
        except Exception as error:
            pipe.send(error)
    pool.close()


def make_pool(make: Callable[[], World], *, num_worlds: int, processes: int = 0) -> Pool:
    """Worlds in this process (`processes` = 0), or spread over that many.

    Raises:
        UserError: no world, or more processes than worlds.
    """
    if num_worlds < 1:
        raise UserError("num_envs must be at least 1")
    if not 0 <= processes <= num_worlds:
        raise UserError(f"processes must lie between 0 (none but this one) and num_envs = {num_worlds}")
    return ProcessPool(make, num_worlds, processes) if processes else LocalPool(make, num_worlds)


def stack(observations: Sequence[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Observations of single worlds as arrays [num_worlds, ...] by channel."""
    return {key: np.stack([observation[key] for observation in observations]) for key in observations[0]}
