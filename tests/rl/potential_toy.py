"""Worlds that know how far they are, estimators that count, and episodes of known potentials."""

from contextlib import contextmanager

import numpy as np
from remote_toys import Still
from rl_toy import Point, Scripted, Telltale, make_units

from robolearn.data.replay import Trajectory
from robolearn.rl.interaction import BASE
from robolearn.rl.potential import POTENTIAL, PotentialEnv
from robolearn.rl.units import VECTOR
from robolearn.schema import Progress


class Climbing(Scripted):
    """Progress is the share of the episode that is over."""

    def _info(self):
        return {**super()._info(), "progress": self.t / self.lengths}


def climbed(frames):
    """Its progress, from what it shows: (world, episode, step)."""
    world, _, step = frames[VECTOR].T
    return step / (3 + world)


class Recipe:
    """Worlds that tell their potential, for remote actors."""

    @contextmanager
    def open(self):
        yield PotentialEnv(Climbing()), Still(Telltale()), make_units(Scripted.schema)


def nearness(position, goal):
    """Progress of the point on its line."""
    return 1 - np.minimum(np.abs(position - goal), 2) / 2


class Nearing(Point):
    """The point, which knows how near to its goal it is."""

    def _info(self):
        return {**super()._info(), "progress": nearness(self.x, self.goal)}


class Counter:
    """An estimator that counts the frames of an episode, and keeps what it was shown."""

    schema = Scripted.schema

    def __init__(self):
        self.shown, self.count = [], 0

    def reset(self):
        self.count = 0

    def update(self, observation, instruction):
        self.count += 1
        self.shown.append((*observation["observation.state"].tolist(), instruction))
        return Progress(0, self.count / 10, 0.5)


def make_episode(potential, *, terminated, seed=0):
    """An episode with this potential [T + 1], whose frames show the time, and random rewards."""
    steps = len(potential) - 1
    frames = {
        VECTOR: np.repeat(np.arange(steps + 1, dtype=np.float32)[:, None], 2, 1),
        BASE: np.zeros((steps + 1, 1), np.float32),
        POTENTIAL: np.asarray(potential, np.float32),
    }
    reward = np.random.default_rng(seed).normal(size=steps).astype(np.float32)
    return Trajectory(frames, np.zeros((steps, 1), np.float32), reward, terminated, terminated)
