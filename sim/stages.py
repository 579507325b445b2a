"""Stages: a task is an ordered list of them, and everything that knows the task reads this one list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.state import WorldState


@dataclass(frozen=True)
class Stage:
    """One step of a task.

    Attributes:
        name: short, e.g. "grasp".
        sentence: what the robot does in it, for annotations and language.
        done: predicate on the state -> [n] bool; a later stage's predicate implies the earlier ones.
        progress: within-stage progress -> [n] float in [0, 1].
    """

    name: str
    sentence: str
    done: Callable[[WorldState], NDArray[np.bool_]]
    progress: Callable[[WorldState], NDArray[np.float64]]


def current_stage(stages: Sequence[Stage], state: WorldState) -> NDArray[np.int64]:
    """Index [n] of the stage each world is in: one past the last stage that is done, so it can fall back."""
    index = np.zeros(len(state.width), np.int64)
    for k, stage in enumerate(stages):
        index[stage.done(state)] = k + 1
    return index


def task_progress(stages: Sequence[Stage], state: WorldState, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """Progress [n] of the whole task in [0, 1]: stages done plus the share of the current one."""
    within = np.zeros(len(index))
    for k in set(index.tolist()) - {len(stages)}:
        here = index == k
        within[here] = stages[k].progress(state)[here]
    return (index + np.clip(within, 0.0, 1.0)) / len(stages)
