"""What actors make in the tests of remote ones, and a learner to be killed; workers of Ray import this."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rl_toy import Biased, Point, Scripted, Telltale, demonstrations, make_config, make_units
from torch import nn

from robolearn.acting import Acting, ChunkActor
from robolearn.config import OffPolicyConfig
from robolearn.errors import UserError
from robolearn.eval.rollout import run_episodes
from robolearn.rl.experience import relabelled
from robolearn.rl.online import Clock, OnlineTrainer
from robolearn.rl.residual import Residual

# ---------------------------------------------------------------- who explores where


class Still:
    """An algorithm that has weights and learns nothing."""

    def __init__(self, policy):
        self.policy, self.clock, self.actor = policy, Clock(), nn.Linear(2, 1)
        self.modules, self.optimizers, self.generator = {}, {}, torch.Generator()

    def acting(self, rng):
        return Acting(self.policy)


@dataclass(frozen=True)
class Counting:
    """Worlds whose every episode is known."""

    @contextmanager
    def open(self):
        yield Scripted(), Still(Telltale()), make_units(Scripted.schema)


@dataclass(frozen=True)
class Broken:
    """Cannot even begin."""

    @contextmanager
    def open(self):
        raise UserError("there is no such task: give another")
        yield


@dataclass(frozen=True)
class Walking:
    """The point and the biased base, with the residual on top.

    Attributes:
        config: of the residual.
        folder: where processes leave a file named by their number, and a line for each finished episode.
        deaths: processes that kill themselves in the midst of their episodes, leaving their number.
    """

    config: OffPolicyConfig
    folder: str | None = None
    deaths: int = 0

    @contextmanager
    def open(self):
        torch.set_num_threads(1)
        units = make_units(Point.schema)
        env = Point(self.config.num_envs) if self.folder is None else Noting(self)
        yield env, Residual(self.config, policy=Biased(), units=units, seed=0), units


class Noting(Point):
    """Notes where each finished episode began; may end its process."""

    def __init__(self, toy):
        super().__init__(toy.config.num_envs)
        self.folder, self.left = Path(toy.folder), None
        (self.folder / f"pid-{os.getpid()}").touch()
        for k in range(toy.deaths):
            with suppress(FileExistsError), (self.folder / f"death-{k}").open("x") as file:
                file.write(str(os.getpid()))
                self.left = 30 + 17 * k
                break

    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed, options=options)
        chosen = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        began = np.stack((self.x, self.goal), 1).astype(np.float32)
        self.began = began if not hasattr(self, "began") else np.where(chosen[:, None], began, self.began)
        return result

    def step(self, actions):
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                time.sleep(0.5)  # what was reported before is on its way
                os.kill(os.getpid(), signal.SIGKILL)
        result = super().step(actions)
        with (self.folder / "finished.txt").open("a") as file:
            for i in np.flatnonzero(result[2] | result[3]):
                file.write("{} {!r} {!r}\n".format(os.getpid(), *self.began[i].tolist()))
        return result


def begins(trajectory):
    """Where an episode of the point began."""
    return tuple(trajectory.frames["obs"][0].tolist())


# ---------------------------------------------------------------- a learner that may be killed


def learning_config(**changes):
    """What learns the toy in some seconds."""
    usual = {
        "num_envs": 8,
        "total_steps": 2400,
        "warmup_steps": 800,
        "critic_warmup_updates": 200,
        "eval_every": 800,
        "utd": 0.5,
        "batch_size": 128,
        "n_step": 3,
        "hidden": 64,
        "residual_penalty_start": 1.0,
        "residual_penalty_end": 0.1,
        "residual_penalty_steps": 1000,
    }
    return make_config(**(usual | changes))


def learn(out: Path, address: str, *, seed: int = 0, deaths: int = 0, **changes):
    """Learn with two actors, noting in `out / "taken.txt"` how many episodes there are; return the trainer."""
    from robolearn.launch.on_ray import connected
    from robolearn.rl.remote import RemoteActors

    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    config, units = learning_config(**changes), make_units(Point.schema)
    algorithm = Residual(config, policy=Biased(), units=units, seed=seed)
    trainer = OnlineTrainer(algorithm, config, seed=seed, out=out)
    shown = relabelled(demonstrations(20), Biased(), units, seed=seed)

    def note(*_):
        with (out / "taken.txt").open("a") as file:
            file.write(f"{trainer.episodes}\n")

    toy = Walking(config, str(out), deaths)
    with connected(address, room=2) as ray:
        source = RemoteActors(ray, toy, algorithm, actors=2, cpus=1, seed=trainer.seed)
        try:
            trainer.run(source, shown, evaluate=rate, on_progress=note)
        finally:
            source.close()
    return trainer


def rate(acting):
    """Success rate of who acts, in 100 episodes."""
    env = Point(20)
    actor = ChunkActor(acting.policy, env.num_envs, acting.correction)
    return float(np.mean([episode.success for episode in run_episodes(env, actor, range(100))]))


if __name__ == "__main__":
    learn(Path(sys.argv[1]), sys.argv[2], seed=int(sys.argv[3]))
