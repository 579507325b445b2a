"""What a task is: a scene, where its objects start, and its stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.sim.stages import Stage, current_stage
from robolearn.sim.state import WorldState

Poses = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class Task:
    """One manipulation task, independent of robot and backend.

    Attributes:
        name: as on the command line.
        instructions: phrasings of the task; the first is the default.
        objects: free objects whose poses are observed, in order.
        stages: ordered; the task is a success when the last one is done.
        build: adds the task's bodies to a scene.
        place: draws the start pose of each object.
    """

    name: str
    instructions: tuple[str, ...]
    objects: tuple[str, ...]
    stages: tuple[Stage, ...]
    build: Callable[[mujoco.MjSpec], None]
    place: Callable[[np.random.Generator], Poses]

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the stages in order."""
        return tuple(stage.name for stage in self.stages)

    def success(self, state: WorldState) -> NDArray[np.bool_]:
        """Whether the task is done in each world [n]."""
        return self.stages[-1].done(state)

    def stage(self, state: WorldState) -> NDArray[np.int64]:
        """Current stage of each world [n]; `len(stages)` when all are done."""
        return current_stage(self.stages, state)
