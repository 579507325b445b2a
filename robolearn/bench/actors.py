"""Online RL with worlds in the learner's process, and with one and two actors beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from robolearn.bench._turns import Turn, in_turns, rate, ratio
from robolearn.bench._verbs import told_to
from robolearn.eval.results import Measure

if TYPE_CHECKING:
    from robolearn.commands.actors import Exploration
    from robolearn.rl.online import OnlineTrainer

SUMMARY = "control steps and updates per second of online RL, with 0, 1 and 2 actors beside it (20 minutes)"
SEEDS = (0,)

ACTORS = (0, 1, 2)
COLLECT = ("task=lift", "env.threads=1", "num_episodes=10", "expert.noise=0.3", "seed=0")
TRAIN = ("policy=flow", "train.steps=100", "train.device=cpu", "train.tensorboard=false", "seed=0")
ALGO = ("algo=residual", "env.threads=1")
ROUNDS = 5
SETTLE, SECONDS = 5.0, 15.0  # from the first steps or updates on: until it counts, and how long it does
NEVER = 10**9
UNITS = {"acting": "control_steps_per_s", "learning": "updates_per_s"}


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Measure `algo=residual` on `lift` in turns, all of it on this machine with one thread of torch in each process.

    - Acting: control steps per second while nothing is learned, as during the warm-up.
    - Learning: updates per second, one per control step as the preset has it. Whoever is slower, the learner or the
      worlds, has the other wait.

    Actors belong to a Ray cluster of this machine, started for each turn; that does not count. The base policy is
    trained for a moment only, and nothing is taken from demonstrations: neither changes what a step costs.
    """
    from robolearn.commands.common import use_one_thread

    use_one_thread()
    with TemporaryDirectory(prefix="robolearn-bench-") as folder:
        progress("training a base policy")
        exploration = _prepare(Path(folder))
        turns = {
            f"{what} {n}": _turn(exploration, actors=n, learning=what == "learning") for n in ACTORS for what in UNITS
        }
        return _measures(in_turns(turns, rounds=ROUNDS, seconds=SECONDS, progress=progress))


def _prepare(folder: Path) -> Exploration:
    from robolearn.commands import collect, train
    from robolearn.commands.actors import Exploration
    from robolearn.commands.common import policy_folder
    from robolearn.compose import build, compose
    from robolearn.launch.job import Folder

    data, base = folder / "demonstrations", folder / "base"
    with told_to(folder / "log.txt"):
        collect.run(build("collect", compose("collect", [*COLLECT, f"out={data}"])))
        train.run(build("train", compose("train", [*TRAIN, f"dataset={data}", f"out={base}"])))
    config = build("finetune", compose("finetune", [*ALGO, f"checkpoint={base}", f"dataset={data}"]))
    algo = replace(config.algo, total_steps=NEVER, eval_every=NEVER, critic_warmup_updates=0)
    return Exploration(config.task, config.robot, config.env, algo, Folder(policy_folder(base)), SEEDS[0])


def _turn(exploration: Exploration, *, actors: int, learning: bool) -> Turn:
    """A fine-tuning that begins anew each time and is stopped when it was watched long enough."""
    from robolearn.commands.actors import exploring, make_algorithm
    from robolearn.commands.common import load_base
    from robolearn.launch.launcher import HERE, Launcher
    from robolearn.rl.online import OnlineTrainer

    launcher = Launcher("ray", actors, "local") if actors else HERE
    algo = replace(exploration.algo, warmup_steps=0 if learning else NEVER)
    exploration = replace(exploration, algo=algo, checkpoint=launcher.folder(exploration.checkpoint.path))

    def measure(seconds: float) -> float:
        policy = load_base(exploration.checkpoint.path)
        algorithm, units = make_algorithm(algo, policy, seed=exploration.seed)
        with TemporaryDirectory(prefix="robolearn-bench-") as out:
            trainer = OnlineTrainer(algorithm, algo, seed=exploration.seed, out=Path(out))
            watch = _Watch(trainer, learning=learning, seconds=seconds)
            with (
                suppress(_EnoughError),
                exploring(exploration, algorithm, units, launcher=launcher, seed=trainer.seed) as source,
            ):
                trainer.run(source, evaluate=lambda acting: 0.0, on_progress=watch)
        return watch.rate

    return measure


class _EnoughError(Exception):
    """A training has been watched long enough."""


class _Watch:
    """Looks at a training after each round.

    Attributes:
        rate: updates, or control steps, per second.
    """

    def __init__(self, trainer: OnlineTrainer, *, learning: bool, seconds: float) -> None:
        self.rate = 0.0
        self._clock, self._learning, self._seconds = trainer.clock, learning, seconds
        self._settled: float | None = None  # when it counts
        self._start: tuple[float, int] | None = None

    def __call__(self, *_: Any) -> None:
        now = time.perf_counter()
        done = self._clock.updates if self._learning else self._clock.steps
        if self._settled is None:
            self._settled = now + SETTLE if done else None
        elif self._start is None:
            self._start = (now, done) if now >= self._settled else None
        elif now - self._start[0] >= self._seconds and done > self._start[1]:
            self.rate = (done - self._start[1]) / (now - self._start[0])
            raise _EnoughError


def _measures(rates: dict[str, list[float]]) -> list[Measure]:
    measures = []
    for what, unit in UNITS.items():
        alone = rates[f"{what} 0"]
        for n in ACTORS:
            ours = rates[f"{what} {n}"]
            measures.append(rate(f"{unit}.{what}.{n}_actors", ours, alone if n else None))
            if n:
                measures.append(ratio(f"speedup.{what}.{n}_actors", ours, alone))
    return measures
