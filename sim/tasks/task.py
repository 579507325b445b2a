"""What a task is: a scene, where its bodies start, its stages and how one says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.robot import RobotSpec
from robolearn.sim.stages import Stage, current_stage
from robolearn.sim.state import WorldState

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Area:
    """The part of the table that an arm serves well: tasks place their bodies in it.

    Attributes:
        low, high: corners (x, y) in the base frame, m.
    """

    low: tuple[float, float]
    high: tuple[float, float]

    @classmethod
    def of(cls, robot: RobotSpec) -> Area:
        """The area of a robot."""
        (x0, y0), (x1, y1) = robot.work_area
        return cls((x0, y0), (x1, y1))

    @property
    def centre(self) -> Array:
        """Its middle (x, y), m."""
        return (np.array(self.low) + self.high) / 2

    @property
    def size(self) -> Array:
        """Its extent (x, y), m."""
        return np.subtract(self.high, self.low)

    def draw(self, rng: np.random.Generator, *, margin: float = 0.0) -> Array:
        """A uniform point (x, y) at least `margin` m from the border."""
        return rng.uniform(np.array(self.low) + margin, np.array(self.high) - margin)


@dataclass(frozen=True)
class Start:
    """How one episode begins.

    Attributes:
        poses: position [3] in m and quaternion [4] of each free or mocap body, by name.
        joints: positions of the task's own joints (drawers, lids), by name.
        variant: which of the task's variants is asked for.
    """

    poses: Mapping[str, tuple[Array, Array]]
    joints: Mapping[str, float] = field(default_factory=dict)
    variant: int = 0


@dataclass(frozen=True)
class Task:
    """One manipulation task, independent of robot and backend.

    Attributes:
        name: as on the command line.
        instructions: phrasings of each variant [variant][phrasing]; the first is the default.
        held_out: further phrasings, likewise, that no episode draws: to try what a policy makes of words it was never
            trained on; empty where there are none.
        bodies: bodies whose poses are observed, in order.
        movable: those of them that are free objects: a privileged wrench may push them.
        stages: ordered; the task is a success when the last one is done.
        build: adds the task's bodies to a scene, given the arm's area.
        place: draws the start of an episode in the area.
        space: extent (x, y) of the area and height above the table that the arm must reach, in m.
        action_space: the one its expert uses; see `robolearn.action_space.ACTION_SPACES`.
        max_episode_steps: control steps that suffice at 20 Hz.
        recolour: bodies whose colour means nothing, so that randomisation may change it.
        tool: where the tool is at the start, position [3] in m and orientation [3, 3] in the base frame; the robot's
            home when None.
        lost: predicate on the state -> [n]: the task can no longer be done, the episode ends as a failure; None: never.
        resizable: free objects whose size randomisation may change; the movable ones when None.
    """

    name: str
    instructions: tuple[tuple[str, ...], ...]
    bodies: tuple[str, ...]
    movable: tuple[str, ...]
    stages: tuple[Stage, ...]
    build: Callable[[mujoco.MjSpec, Area], None]
    place: Callable[[np.random.Generator, Area], Start]
    space: tuple[float, float, float] = (0.0, 0.0, 0.15)
    action_space: str = "ee_delta"
    max_episode_steps: int = 80
    recolour: tuple[str, ...] = ()
    tool: Callable[[Area], tuple[Array, Array]] | None = None
    lost: Callable[[WorldState], NDArray[np.bool_]] | None = None
    resizable: tuple[str, ...] | None = None
    held_out: tuple[tuple[str, ...], ...] = ()

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the stages in order."""
        return tuple(stage.name for stage in self.stages)

    @property
    def n_variants(self) -> int:
        """Number of things that can be asked for."""
        return len(self.instructions)

    def success(self, state: WorldState) -> NDArray[np.bool_]:
        """Whether the task is done in each world [n]."""
        return self.stages[-1].done(state)

    def stage(self, state: WorldState) -> NDArray[np.int64]:
        """Current stage of each world [n]; `len(stages)` when all are done."""
        return current_stage(self.stages, state)
