"""A script whose eyes and hand are tampered with; see `robolearn.sim.failures`."""

from __future__ import annotations

from copy import copy, deepcopy
from enum import IntEnum
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import matrix_from_quat, quat_from_vector
from robolearn.sim.experts.scene import Scene
from robolearn.sim.experts.script import CLOSED, OPEN, Memory, Motion, Script, about_vertical
from robolearn.sim.tasks.task import Task

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]
REACH = 0.05  # m from tool to object at which closing fingers are meant for it
TURN = (0.5, 0.9)  # rad, either way, by which a rotation is wrong
EARLIEST, LATEST, LATEST_LIFT = 5, 12, 7  # control steps from closing to slipping; a lift is soon a success
OPENING = 6  # control steps for which the fingers then open
HELD_WIDTH = 0.02  # m between the fingers that a script takes for an object held


class Grip(IntEnum):
    """What has become of an object, in the script's eyes."""

    FREE = 0
    TAKEN = 1  # it is in the fingers
    IMAGINED = 2  # the script takes it to be in the fingers
    LEFT = 3  # the script takes it to be where the fingers opened


class Trace(NamedTuple):
    """What has become of the object that each of n worlds takes, live in the memory of the script.

    Attributes:
        grip: see `Grip` [n].
        object: which of the movable objects it is [n].
        clock: control steps since it was taken [n].
        closed: whether the script closed the fingers in the last control step [n].
        stuck: whether the hand stays for good [n].
        pos: where the object is imagined [n, 3], m: in the tool's frame, then where it was left.
        rot: its orientation [n, 3, 3], likewise.
    """

    grip: Ints
    object: Ints
    clock: Ints
    closed: Mask
    stuck: Mask
    pos: Array
    rot: Array

    @classmethod
    def of(cls, memory: Memory) -> Self:
        """The part of a script's memory that it is kept in."""
        return cls(
            grip=memory.note("trace.grip", dtype=int),
            object=memory.note("trace.object", dtype=int),
            clock=memory.note("trace.clock", dtype=int),
            closed=memory.note("trace.closed", dtype=bool),
            stuck=memory.note("trace.stuck", dtype=bool),
            pos=memory.note("trace.pos", 3),
            rot=memory.note("trace.rot", 3, 3),
        )


class FailingScript:
    """What a script does of n worlds when each fails in its own way.

    A failure of the eyes gives the script a false scene, one of the hand changes its motion. After a failed grasp or
    a slip the script sees the object where it would be, so that it goes on instead of trying again.
    """

    def __init__(self, script: Script, task: Task, num_envs: int) -> None:
        """Wrap the `script` of `task`."""
        self._script, self._movable, self._n_variants = script, task.movable, task.n_variants
        self._latest = LATEST_LIFT if task.stage_names[-1] == "lift" else LATEST
        self._kind = np.full(num_envs, "", dtype="<U16")
        # what an episode draws: a wrong turn, when to slip, by how many the choice of object or variant is off
        self._turn: Array = np.zeros(num_envs)
        self._slip_at, self._other = np.zeros((2, num_envs), np.int64)

    def begin(self, world: int, kind: str, rng: np.random.Generator) -> None:
        """Begin an episode of a world, which shall fail in this way."""
        self._kind[world] = kind
        self._turn[world] = rng.choice((-1, 1)) * rng.uniform(*TURN)
        self._slip_at[world] = rng.integers(EARLIEST, self._latest, endpoint=True)
        choices = self._n_variants if self._n_variants > 1 else len(self._movable)
        self._other[world] = 1 + rng.integers(choices - 1) if choices > 1 else 0

    def __call__(self, scene: Scene, memory: Memory) -> Motion:
        """What the hands do."""
        trace = Trace.of(memory)
        seen = self._see(scene, memory, trace)
        motion = self._script(_copy(seen), memory)
        if self._movable:
            self._follow(seen, motion.opening, trace)
        return self._tamper(motion, trace)

    def _is(self, *kinds: str) -> Mask:
        return np.isin(self._kind, kinds)

    def _see(self, scene: Scene, memory: Memory, trace: Trace) -> Scene:
        seen = _copy(scene)
        self._see_other_object(seen)
        self._see_imagined_object(seen, trace)
        turn = about_vertical(np.where(self._is("rotation"), self._turn, 0.0))
        if (still := self._is("no_rotation")).any():
            # the tool seems to be turned as the script would turn it
            turn[still] = self._script(_copy(seen), deepcopy(memory)).turn[still]
        seen.tool_rot = matrix_from_quat(quat_from_vector(turn)) @ seen.tool_rot
        seen.tool_yaw = np.arctan2(seen.tool_rot[:, 1, 0], seen.tool_rot[:, 0, 0])
        return seen

    def _see_other_object(self, seen: Scene) -> None:
        wrong = self._is("wrong_object")
        if self._n_variants > 1:
            seen.goal = np.where(wrong, (seen.goal + self._other) % self._n_variants, seen.goal)
            return
        for k, name in enumerate(self._movable[1:], start=1):
            here, first = wrong & (self._other == k), self._movable[0]
            for values in (seen.pos, seen.rot, seen.yaw):
                values[first][here], values[name][here] = values[name][here], values[first][here]

    def _see_imagined_object(self, seen: Scene, trace: Trace) -> None:
        for k, name in enumerate(self._movable):
            mine = trace.object == k
            held, left = mine & (trace.grip == Grip.IMAGINED), mine & (trace.grip == Grip.LEFT)
            rot = seen.tool_rot[held]
            seen.pos[name][held] = seen.tool_pos[held] + (rot @ trace.pos[held, :, None])[..., 0]
            seen.rot[name][held] = rot @ trace.rot[held]
            seen.pos[name][left], seen.rot[name][left] = trace.pos[left], trace.rot[left]
            seen.yaw[name] = np.arctan2(seen.rot[name][:, 1, 0], seen.rot[name][:, 0, 0])
            seen.width[held] = HELD_WIDTH

    def _follow(self, seen: Scene, opening: Array, trace: Trace) -> None:
        """Learn from how far the script opens the fingers what it thinks of the object."""
        opens, begins_to_close = opening >= 0.5, (opening < 0.5) & ~trace.closed
        pos, rot = (np.stack([values[name] for name in self._movable]) for values in (seen.pos, seen.rot))
        distance = np.linalg.norm(pos - seen.tool_pos, axis=2)
        near = distance.min(axis=0) < REACH
        before = trace.grip.copy()
        takes = (before == Grip.FREE) & begins_to_close & near
        trace.object[takes], trace.clock[takes] = distance.argmin(axis=0)[takes], 0
        slips = (before == Grip.TAKEN) & self._is("slip") & (trace.clock == self._slip_at)
        imagines = slips | (takes & self._is("no_grasp", "wrong_sequence"))
        leaves = (before == Grip.IMAGINED) & opens
        trace.stuck[(before == Grip.TAKEN) & opens & near & self._is("no_retract")] = True
        trace.grip[takes] = Grip.TAKEN
        trace.grip[(before == Grip.TAKEN) & opens] = Grip.FREE
        trace.grip[imagines], trace.grip[leaves] = Grip.IMAGINED, Grip.LEFT
        placed, worlds = imagines | leaves, np.arange(len(opens))
        trace.pos[placed] = pos[trace.object, worlds][placed]
        trace.rot[placed] = rot[trace.object, worlds][placed]
        inverse = seen.tool_rot[imagines].swapaxes(1, 2)
        trace.pos[imagines] = (inverse @ (trace.pos - seen.tool_pos)[imagines, :, None])[..., 0]
        trace.rot[imagines] = inverse @ trace.rot[imagines]
        trace.clock[:] += 1
        trace.closed[:] = ~opens

    def _tamper(self, motion: Motion, trace: Trace) -> Motion:
        still = (self._is("no_rotation") | trace.stuck)[:, None]
        imagined = trace.grip == Grip.IMAGINED
        slipping = self._is("slip") & imagined & (trace.clock <= self._slip_at + OPENING)
        closed = trace.stuck | (self._is("wrong_sequence") & (trace.grip == Grip.FREE))
        opening = np.where(closed, CLOSED, np.where(slipping | (self._is("no_grasp") & imagined), OPEN, motion.opening))
        move, turn = np.where(trace.stuck[:, None], 0.0, motion.move), np.where(still, 0.0, motion.turn)
        return Motion(move, turn, opening, motion.gain)


def _copy(scene: Scene) -> Scene:
    """A scene of its own: scripts write into theirs."""
    other = copy(scene)
    for name in ("pos", "rot", "yaw"):
        setattr(other, name, {body: values.copy() for body, values in getattr(scene, name).items()})
    other.width = scene.width.copy()
    return other
