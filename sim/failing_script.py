"""A script whose eyes and hand are tampered with; see `robolearn.sim.failures`."""

from __future__ import annotations

from copy import copy, deepcopy
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import matrix_from_quat, quat_from_vector
from robolearn.sim.experts.scene import Scene
from robolearn.sim.experts.script import CLOSED, OPEN, Memory, Motion, Script, about_vertical
from robolearn.sim.tasks.task import Task

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
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
        # what becomes of it: the grip on which movable object since when, the last opening, whether it stays for good
        self._grip, self._object, self._clock = np.zeros((3, num_envs), np.int64)
        self._opening: Array = np.ones(num_envs)
        self._stuck = np.zeros(num_envs, bool)
        # the pose of that object where it is imagined: in the tool's frame, then where it was left
        self._pos: Array = np.zeros((num_envs, 3))
        self._rot: Array = np.zeros((num_envs, 3, 3))

    def begin(self, world: int, kind: str, rng: np.random.Generator) -> None:
        """Begin an episode of a world, which shall fail in this way."""
        self._kind[world] = kind
        self._turn[world] = rng.choice((-1, 1)) * rng.uniform(*TURN)
        self._slip_at[world] = rng.integers(EARLIEST, self._latest, endpoint=True)
        choices = self._n_variants if self._n_variants > 1 else len(self._movable)
        self._other[world] = 1 + rng.integers(choices - 1) if choices > 1 else 0
        self._grip[world], self._clock[world], self._stuck[world] = Grip.FREE, 0, False
        self._opening[world] = OPEN

    def __call__(self, scene: Scene, memory: Memory) -> Motion:
        """What the hands do."""
        seen = self._see(scene, memory)
        motion = self._script(_copy(seen), memory)
        if self._movable:
            self._follow(seen, motion.opening)
        return self._tamper(motion)

    def _is(self, *kinds: str) -> Mask:
        return np.isin(self._kind, kinds)

    def _see(self, scene: Scene, memory: Memory) -> Scene:
        seen = _copy(scene)
        self._see_other_object(seen)
        self._see_imagined_object(seen)
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

    def _see_imagined_object(self, seen: Scene) -> None:
        for k, name in enumerate(self._movable):
            mine = self._object == k
            held, left = mine & (self._grip == Grip.IMAGINED), mine & (self._grip == Grip.LEFT)
            rot = seen.tool_rot[held]
            seen.pos[name][held] = seen.tool_pos[held] + (rot @ self._pos[held, :, None])[..., 0]
            seen.rot[name][held] = rot @ self._rot[held]
            seen.pos[name][left], seen.rot[name][left] = self._pos[left], self._rot[left]
            seen.yaw[name] = np.arctan2(seen.rot[name][:, 1, 0], seen.rot[name][:, 0, 0])
            seen.width[held] = HELD_WIDTH

    def _follow(self, seen: Scene, opening: Array) -> None:
        """Learn from how far the script opens the fingers what it thinks of the object."""
        opens, begins_to_close = opening >= 0.5, (opening < 0.5) & (self._opening >= 0.5)
        pos, rot = (np.stack([values[name] for name in self._movable]) for values in (seen.pos, seen.rot))
        distance = np.linalg.norm(pos - seen.tool_pos, axis=2)
        near = distance.min(axis=0) < REACH
        before = self._grip.copy()
        takes = (before == Grip.FREE) & begins_to_close & near
        self._object[takes], self._clock[takes] = distance.argmin(axis=0)[takes], 0
        slips = (before == Grip.TAKEN) & self._is("slip") & (self._clock == self._slip_at)
        imagines = slips | (takes & self._is("no_grasp", "wrong_sequence"))
        leaves = (before == Grip.IMAGINED) & opens
        self._stuck |= (before == Grip.TAKEN) & opens & near & self._is("no_retract")
        self._grip[takes] = Grip.TAKEN
        self._grip[(before == Grip.TAKEN) & opens] = Grip.FREE
        self._grip[imagines], self._grip[leaves] = Grip.IMAGINED, Grip.LEFT
        worlds = np.arange(len(opens))
        self._remember(imagines | leaves, pos[self._object, worlds], rot[self._object, worlds])
        inverse = seen.tool_rot[imagines].swapaxes(1, 2)
        self._pos[imagines] = (inverse @ (self._pos - seen.tool_pos)[imagines, :, None])[..., 0]
        self._rot[imagines] = inverse @ self._rot[imagines]
        self._clock += 1
        self._opening = opening.copy()

    def _remember(self, where: Mask, pos: Array, rot: Array) -> None:
        self._pos[where], self._rot[where] = pos[where], rot[where]

    def _tamper(self, motion: Motion) -> Motion:
        still = (self._is("no_rotation") | self._stuck)[:, None]
        imagined = self._grip == Grip.IMAGINED
        slipping = self._is("slip") & imagined & (self._clock <= self._slip_at + OPENING)
        closed = self._stuck | (self._is("wrong_sequence") & (self._grip == Grip.FREE))
        opening = np.where(closed, CLOSED, np.where(slipping | (self._is("no_grasp") & imagined), OPEN, motion.opening))
        move, turn = np.where(self._stuck[:, None], 0.0, motion.move), np.where(still, 0.0, motion.turn)
        return Motion(move, turn, opening, motion.gain)


def _copy(scene: Scene) -> Scene:
    """A scene of its own: scripts write into theirs."""
    other = copy(scene)
    for name in ("pos", "rot", "yaw"):
        setattr(other, name, {body: values.copy() for body, values in getattr(scene, name).items()})
    other.width = scene.width.copy()
    return other
