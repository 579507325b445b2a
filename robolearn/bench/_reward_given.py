"""What estimators of `robolearn bench rewards` are measured against: a clock, and the truth itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.bench._reward_judge import Estimate, Read

if TYPE_CHECKING:
    from robolearn.bench._reward_runs import Sets

# how wrong instructions are said that no training saw
WRONG = ("water the plants", "open the window a little", "hand me the screwdriver", "clean the table with the sponge")


def clock(sets: Sets) -> Estimate:
    """T / mean length of the training's successes: right about everything but what happens."""
    from robolearn.commands.reward_data import stages_of

    num_stages = len(sets.train.stage_names)
    done = [int((stage >= num_stages).argmax()) for stage in stages_of(sets.train) if (stage >= num_stages).any()]
    mean, before = float(np.mean(done)), np.cumsum(sets.shares)

    def estimate(frames: Mapping[str, NDArray[Any]], instruction: str) -> Read:
        length = len(next(iter(frames.values())))
        progress = np.minimum(np.arange(length) / mean, 1.0)
        stage = np.searchsorted(before, progress, side="right").clip(max=num_stages)
        return Read(stage, progress, (progress >= 1.0).astype(float))

    return estimate


def oracle(sets: Sets, observed: Sequence[str]) -> Estimate:
    """The truth, looked up by what is observed: what a perfect reader of it would say."""

    def seen(frames: Mapping[str, NDArray[Any]], t: int) -> bytes:
        return b"".join(np.ascontiguousarray(frames[key][t]).tobytes() for key in observed)

    known = {}
    for episodes in sets.tests.values():
        for episode in episodes:
            for t in range(len(episode.labels.stage)):
                known[seen(episode.frames, t)] = (episode.labels.stage[t], episode.labels.progress[t])

    def estimate(frames: Mapping[str, NDArray[Any]], instruction: str) -> Read:
        found = [known[seen(frames, t)] for t in range(len(frames[observed[0]]))]
        stage, progress = (np.array(column) for column in zip(*found, strict=True))
        if instruction in WRONG:
            stage, progress = np.zeros_like(stage), np.zeros_like(progress)
        return Read(stage, progress, (stage >= len(sets.shares)).astype(float))

    return estimate
