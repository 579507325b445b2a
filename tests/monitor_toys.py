"""Episodes of three stages as an estimator that is a little wrong sees them."""

import itertools

import numpy as np

from robolearn.monitor_fitting import Watched

NUM_STAGES = 3
NOISE = 0.01


def seen(true_progress, *, rng, noise=NOISE):
    """The reading of a progress [T], and the truth."""
    true_stage = np.minimum((true_progress * NUM_STAGES + 1e-9).astype(int), NUM_STAGES)
    progress = np.clip(true_progress + rng.normal(0, noise, len(true_progress)), 0, 1)
    stage = np.minimum((progress * NUM_STAGES).astype(int), NUM_STAGES - 1)
    success = np.clip(1 - 8 * (1 - progress), 0, 1)
    return Watched(np.where(success > 0.5, NUM_STAGES, stage), progress, success, true_stage, true_progress)


def path(places, *, speed, rng):
    """Progress [T] that goes from place to place, at about `speed` a frame, and waits a while at each."""
    parts = [np.full(5, places[0])]
    for start, end in itertools.pairwise(places):
        steps = max(int(abs(end - start) / (speed * rng.uniform(0.7, 1.4))), 2)
        parts += [np.linspace(start, end, steps + 1)[1:], np.full(int(rng.integers(0, 8)), end)]
    return np.concatenate(parts)


def success(rng):
    """One that pauses, and sometimes drops something and takes it again."""
    dropped = rng.random() < 0.3
    places = [0.0, 0.5, 0.9, 0.2, 1.0] if dropped else [0.0, rng.uniform(0.2, 0.8), 1.0]
    return seen(np.append(path(places, speed=0.02, rng=rng), np.ones(15)), rng=rng)


def failure(rng):
    """One that gets stuck, or drops something and gives up."""
    stuck = rng.uniform(0.1, 0.9)
    places = [0.0, stuck] if rng.random() < 0.5 else [0.0, 0.8, 0.1]
    true = path(places, speed=0.02, rng=rng)
    return seen(np.append(true, np.full(200, true[-1])), rng=rng)


def episodes(count, *, seed):
    """Successes and failures, half each."""
    rng = np.random.default_rng(seed)
    return [success(rng) if i % 2 else failure(rng) for i in range(count)]
