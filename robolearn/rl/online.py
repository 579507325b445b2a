"""The loop of off-policy RL: act, store, update, evaluate, checkpoint; the same for every algorithm.

What it has in common with that of on-policy RL (`robolearn.rl.on_policy`) is `Learner` and `Trainer`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from robolearn.acting import Acting
from robolearn.config import AlgoConfig, OffPolicyConfig
from robolearn.data.journal import Journal, read_journal
from robolearn.data.replay import Trajectory
from robolearn.protocols import VecEnv
from robolearn.rl.checkpoint import Learned, load_checkpoint, save_checkpoint
from robolearn.rl.experience import Experience
from robolearn.rl.interaction import Interaction
from robolearn.rl.potential import Shaping
from robolearn.rl.units import Units

EPISODES = "episodes"
Metrics = dict[str, float]


@dataclass
class Clock:
    """How far a training is: control steps, summed over the worlds, and updates."""

    steps: int = 0
    updates: int = 0


class Learner(Protocol):
    """An algorithm, as evaluation and checkpoints see it.

    Attributes:
        actor: all that is needed to act; its weights go to remote actors, and the best ones are kept, unless the
            algorithm has a module `averaged` that is evaluated and kept in its place.
        modules: everything else that learns or follows, by name.
        optimizers: by name.
        generator: of its random numbers.
        clock: set by the loop.
    """

    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    generator: torch.Generator
    clock: Clock

    @property
    def actor(self) -> nn.Module:
        """See above."""

    def acting(self, rng: np.random.Generator | None) -> Acting:
        """Who acts with the weights of the moment; explores with `rng`, greedily when None."""

    def save(self, folder: Path) -> None:
        """Write what acts in `folder`, where a copy of the base policy lies."""


class Algorithm(Learner, Protocol):
    """An off-policy algorithm, as the loop sees it.

    One that asks its base again has a method `complete(trajectory) -> Trajectory` too, which adds what it wants to find
    in a batch; the frames that it is given also hold what the base read (see `robolearn.rl.reads`).
    """

    def update(self, experience: Experience) -> dict[str, torch.Tensor]:
        """Learn from one batch; returns figures for the log. `clock.updates` counts it already."""


def judged(algorithm: Learner) -> nn.Module:
    """What acts when the algorithm is evaluated: its module `averaged`, or where it has none its actor."""
    averaged: nn.Module = getattr(algorithm, "averaged", algorithm.actor)
    return averaged


def completion(algorithm: Algorithm) -> Callable[[Trajectory], Trajectory] | None:
    """The algorithm's method `complete`; None where it has none."""
    complete: Callable[[Trajectory], Trajectory] | None = getattr(algorithm, "complete", None)
    return complete


class Source(Protocol):
    """Where episodes come from: worlds in this process, or actors elsewhere."""

    @property
    def steps(self) -> int:
        """Control steps that were taken."""

    def step(self) -> list[Trajectory]:
        """Let the worlds go on for a while; return the episodes that are finished."""

    def follow(self, algorithm: Algorithm) -> None:
        """Act with the algorithm's present weights from now on."""

    def close(self) -> None:
        """Let go of processes."""


class Local:
    """Worlds in this process, which act with the very networks that learn."""

    def __init__(self, env: VecEnv, algorithm: Algorithm, units: Units, *, seed: tuple[int, ...]) -> None:
        """Explore in `env`; see `Interaction` for the seed."""
        rng = np.random.default_rng((*seed, 1))
        reads = completion(algorithm) is not None
        self._interaction = Interaction(env, algorithm.acting(rng), units, seed=(*seed, 0), reads=reads)

    @property
    def steps(self) -> int:
        """Control steps that were taken here."""
        return self._interaction.steps

    def step(self) -> list[Trajectory]:
        """One control step of every world."""
        return self._interaction.step()

    def follow(self, algorithm: Algorithm) -> None:
        """There is nothing to pass on."""

    def close(self) -> None:
        """There is nothing to let go of: the worlds are the caller's."""


class Trainer[A: Learner, C: AlgoConfig]:
    """A loop that lets an algorithm learn, evaluates it and keeps the weights that did best, in the folder `out`.

    Attributes:
        curve: success and figures of each evaluation.
    """

    def __init__(self, algorithm: A, config: C, *, out: Path) -> None:
        """Take networks and counters from a checkpoint in `out`, where there is one."""
        self.algorithm, self.config, self.out = algorithm, config, out
        self.learned = Learned()
        self.curve: list[Metrics] = load_checkpoint(algorithm, self.learned, out) or []
        self._outcomes: list[bool] = []

    @property
    def clock(self) -> Clock:
        """How far the training is."""
        return self.algorithm.clock

    @property
    def episodes(self) -> int:
        """Episodes finished so far."""
        return len(self._outcomes)

    def _loop(
        self,
        advance: Callable[[], Metrics],
        *,
        evaluate: Callable[[Acting], float],
        on_progress: Callable[[int, float, Metrics], None] | None,
    ) -> list[Metrics]:
        """Call `advance`, which moves the clock and gives figures, until the end; see `OnlineTrainer.run`."""
        metrics: Metrics = {}
        self.learned.start_clock()
        if not self.curve:
            self._record(evaluate(self.algorithm.acting(None)), metrics)
        # by the evaluations: a run that was killed in one, even in the last one, makes up for it
        while self._evaluated < self.config.total_steps and not self._good_enough():
            metrics |= advance()
            due = self.clock.steps // self.config.eval_every > self._evaluated // self.config.eval_every
            if due or self.clock.steps >= self.config.total_steps:
                self._record(evaluate(self.algorithm.acting(None)), metrics)
            if on_progress is not None:
                recent = self._outcomes[-100:]
                on_progress(self.clock.steps, float(np.mean(recent)) if recent else 0.0, metrics)
        judged(self.algorithm).load_state_dict(self.learned.best)
        return self.curve

    def _record(self, success: float, metrics: Metrics) -> None:
        if success >= max((point["success"] for point in self.curve), default=0.0):
            self.learned.best = {key: value.clone() for key, value in judged(self.algorithm).state_dict().items()}
        point = {"steps": float(self.clock.steps), "success": success, **self.learned.read_clock()}
        self.curve.append({**point, **metrics})
        save_checkpoint(self.algorithm, self.learned, self.curve, self.out)

    @property
    def _evaluated(self) -> float:
        """Control steps at the last evaluation."""
        return self.curve[-1]["steps"]

    def _good_enough(self) -> bool:
        last = [point["success"] for point in self.curve[-2:]]
        return self.config.stop_at is not None and len(last) == 2 and min(last) >= self.config.stop_at


class OnlineTrainer(Trainer[Algorithm, OffPolicyConfig]):
    """Off-policy RL, resumable from the folder `out`.

    Finished episodes are written there at once, networks and counters at every evaluation. A run that was killed goes
    on with all its finished episodes, and makes up for the updates since the last evaluation.
    """

    def __init__(
        self, algorithm: Algorithm, config: OffPolicyConfig, *, seed: int, out: Path, shaping: Shaping | None = None
    ) -> None:
        """Take networks and episodes from `out`, where there are any.

        With `shaping` all worlds and demonstrations tell a potential, see `robolearn.rl.potential`.
        """
        super().__init__(algorithm, config, out=out)
        # a resumed run draws other batches than those that it has seen
        self.experience = Experience(
            capacity=config.replay_steps,
            demo_ratio=config.demo_ratio,
            gamma=config.gamma,
            seed=(seed, 2, self.clock.updates),
            complete=completion(algorithm),
            shaping=shaping,
        )
        for one, note in read_journal(out / EPISODES):
            self._take(one)
            self.clock.steps = max(self.clock.steps, note["steps"])
        # a resumed run goes on with fresh episodes and noise, never with those it has seen
        self.seed = (seed, self.clock.steps)

    def run(
        self,
        source: Source,
        demonstrations: Sequence[Trajectory] = (),
        *,
        evaluate: Callable[[Acting], float],
        on_progress: Callable[[int, float, Metrics], None] | None = None,
    ) -> list[Metrics]:
        """Learn until `total_steps` or until two evaluations in a row reach `stop_at`; return the curve.

        `judged(algorithm)` then holds the newest of the weights that did best when evaluated.

        Args:
            source: of episodes.
            demonstrations: of which `demo_ratio` of a batch is taken.
            evaluate: success rate of who acts, in worlds and on seeds of its own.
            on_progress: called after each round of the worlds with the control steps so far, the success rate of
                the last 100 exploring episodes, and the newest figures.
        """
        if demonstrations:
            self.experience.show(demonstrations)
        journal, began = Journal(self.out / EPISODES), self.clock.steps

        def advance() -> Metrics:
            finished = source.step() if self.clock.steps < self.config.total_steps else []
            self.clock.steps = began + source.steps
            for one in finished:
                journal.append(one, {"steps": self.clock.steps})
                self._take(one)
            metrics = self._learn()
            source.follow(self.algorithm)
            return metrics

        curve = self._loop(advance, evaluate=evaluate, on_progress=on_progress)
        journal.close()
        return curve

    def _take(self, one: Trajectory) -> None:
        self.experience.add(one)
        self._outcomes.append(one.success)

    def _learn(self) -> Metrics:
        """Make the updates that the control steps since the end of the warm-up are worth, as soon as there is data."""
        beyond = self.clock.steps - self.config.warmup_steps
        if beyond < 0 or not len(self.experience):
            return {}
        owed = math.floor(beyond * self.config.utd) + self.config.critic_warmup_updates
        metrics: dict[str, torch.Tensor] = {}
        while self.clock.updates < owed:
            self.clock.updates += 1
            metrics |= self.algorithm.update(self.experience)
        return {key: float(value) for key, value in metrics.items()}
