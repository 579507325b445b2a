"""Episodes from worlds in other processes beside the learner: on this machine, or actors of a Ray cluster.

The learner gives work and takes reports. At most `AHEAD` calls per actor are given and not yet taken, so that actors
pause when the learner falls behind; it makes all the updates that the control steps taken so far are worth before it
takes the next report, and waits only when there is none. An actor never waits in the midst of a call.
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count, repeat
from typing import Any, NamedTuple, Protocol

import torch
from numpy.typing import NDArray
from torch import nn

from robolearn.data.replay import Trajectory
from robolearn.launch.on_ray import AHEAD, TRIES
from robolearn.protocols import VecEnv
from robolearn.rl.online import Algorithm, Local
from robolearn.rl.units import Units

ROUNDS = 16  # control steps of an actor's worlds in a call at most; newer weights come with the next call
REFRESH = 100  # updates after which the weights are sent again
FIRST = 2  # end of the first actor's seed; with 0 and 1 end those of worlds in the learner's process

Weights = dict[str, NDArray[Any]]


class Recipe(Protocol):
    """Plain data that is sent to an actor."""

    def open(self) -> AbstractContextManager[tuple[VecEnv, Algorithm, Units]]:
        """Make worlds, the algorithm on top of its base policy, and its units."""


class Report(NamedTuple):
    """What came of a call.

    Attributes:
        steps: control steps, summed over the worlds; those of unfinished episodes count.
        finished: episodes.
    """

    steps: int
    finished: list[Trajectory]


class RemoteActors:
    """A `robolearn.rl.online.Source` of actors that each have worlds of their own.

    An episode is reported as soon as it is finished. An actor that is killed loses no others than those that it was in
    the midst of, and another takes its place. A learner or a machine that is killed loses, besides those, the reports
    that were not taken yet, at most `AHEAD` per actor; their steps are not counted either.
    """

    def __init__(
        self,
        ray: Any,
        recipe: Recipe,
        algorithm: Algorithm,
        *,
        actors: int,
        cpus: float,
        seed: tuple[int, ...],
        rounds: int | None = ROUNDS,
    ) -> None:
        """Let actors begin, as the cluster has room for them.

        Args:
            ray: the module, connected to a cluster, or `robolearn.launch.processes.Processes` for this machine.
            recipe: sent to every actor; `robolearn` must be installed on all machines.
            algorithm: of the learner, whose present weights they act with at first.
            actors: how many.
            cpus: that each reserves.
            seed: that no other run has; actors and those that replace them extend it with a number of their own.
            rounds: control steps of an actor's worlds in a call at most; None to go on until an episode is finished,
                for a robot must not wait in the midst of one.
        """
        self._rounds = rounds
        self._ray, self._recipe = ray, ray.put(recipe)
        self._kind = ray.remote(_Actor).options(num_cpus=cpus, max_restarts=0, scheduling_strategy="SPREAD")
        self._seeds = ((*seed, number) for number in count(FIRST))
        self._steps, self._patient = 0, False
        self._weights: Any = None
        self._updates = 0
        self.follow(algorithm)
        self._seats = [self._occupied(_Seat()) for _ in range(actors)]

    @property
    def steps(self) -> int:
        """Control steps that were reported."""
        return self._steps

    def step(self) -> list[Trajectory]:
        """Take one report and let its actor go on; wait for it, except at the first call.

        A learner that resumes owes updates, which need no new episodes.

        Raises:
            Exception: what happened in an actor.
            RuntimeError: actors are lost again and again.
        """
        calls = [seat.calls[0] for seat in self._seats]
        ready, _ = self._ray.wait(calls, num_returns=1, timeout=None if self._patient else 0)
        self._patient = True
        if not ready:
            return []
        seat = self._seats.pop(calls.index(ready[0]))
        self._seats.append(seat)  # whose turn was just now is asked last
        return self._settle(seat)

    def follow(self, algorithm: Algorithm) -> None:
        """Pass on the algorithm's clock and, if they are much newer than the last ones, its weights."""
        self._clock = (algorithm.clock.steps, algorithm.clock.updates)
        if self._weights is None or algorithm.clock.updates - self._updates >= REFRESH:
            self._weights, self._updates = self._ray.put(weights_of(algorithm.actor)), algorithm.clock.updates

    def close(self) -> None:
        """End the actors."""
        for seat in self._seats:
            self._ray.kill(seat.actor)

    def _occupied(self, seat: _Seat) -> _Seat:
        """Hire an actor for a seat and give it work."""
        seat.actor = self._kind.remote(self._recipe, next(self._seeds))
        seat.calls.clear()
        seat.knows = None
        for _ in range(AHEAD):
            self._give(seat)
        return seat

    def _give(self, seat: _Seat) -> None:
        news = None if seat.knows is self._weights else self._weights
        seat.calls.append(seat.actor.act.remote(self._clock, news, self._rounds))
        seat.knows = self._weights

    def _settle(self, seat: _Seat) -> list[Trajectory]:
        try:
            report: Report = self._ray.get(seat.calls.popleft())
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None  # what happened in the actor
        except self._ray.exceptions.RayError as error:
            self._replace(seat, error)
            return []
        seat.losses = 0
        self._give(seat)
        self._steps += report.steps
        return [_copied(one) for one in report.finished]

    def _replace(self, seat: _Seat, error: Exception) -> None:
        """Hire another actor in place of one that is gone with the calls that it had."""
        seat.losses += 1
        if seat.losses > TRIES:
            raise RuntimeError(f"actors end before they report anything: {error}") from error
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(seat.actor)
        self._occupied(seat)


@dataclass(eq=False)
class _Seat:
    """A place for an actor, as the learner sees it.

    Attributes:
        actor: who has it.
        calls: given to it and not yet taken, in the order in which it does them.
        knows: reference to the weights that it was given last.
        losses: actors lost since the last report from here.
    """

    actor: Any = None
    calls: deque[Any] = field(default_factory=deque)
    knows: Any = None
    losses: int = 0


class _Actor:
    """What runs in an actor's process."""

    def __init__(self, recipe: Recipe, seed: tuple[int, ...]) -> None:
        self._recipe, self._seed, self._stack = recipe, seed, ExitStack()
        self._made: tuple[VecEnv, Algorithm, Units] | None = None
        self._local: Local | None = None

    def act(self, clock: tuple[int, int], weights: Weights | None, rounds: int | None) -> Report:
        """Go on until an episode is finished, `rounds` control steps at most; `weights` are new ones."""
        if self._made is None:  # here, for what is raised at an actor's birth does not come back as it is
            self._made = self._stack.enter_context(self._recipe.open())
        env, algorithm, units = self._made
        if weights is not None:
            take_weights(algorithm.actor, weights)
        algorithm.clock.steps, algorithm.clock.updates = clock
        if self._local is None:
            self._local = Local(env, algorithm, units, seed=self._seed)
        before, finished = self._local.steps, list[Trajectory]()
        for _ in repeat(None) if rounds is None else range(rounds):
            if finished := self._local.step():
                break
        return Report(self._local.steps - before, finished)

    def close(self) -> None:
        """Let go of the worlds."""
        self._stack.close()


def weights_of(module: nn.Module) -> Weights:
    """Parameters and buffers as arrays of their own."""
    return {key: values.detach().cpu().numpy().copy() for key, values in module.state_dict().items()}


def take_weights(module: nn.Module, weights: Weights) -> None:
    """Undo `weights_of`, in a module of the same shape."""
    module.load_state_dict({key: torch.from_numpy(values.copy()) for key, values in weights.items()})


def _copied(one: Trajectory) -> Trajectory:
    """An episode whose arrays do not lie in Ray's store, where they would keep their room."""
    frames = {key: values.copy() for key, values in one.frames.items()}
    return one._replace(frames=frames, action=one.action.copy(), reward=one.reward.copy())
