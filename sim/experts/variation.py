"""Scripted episodes of varied speed, with pauses, dropped objects and early ends: for models that judge progress.

Everything is drawn from an episode's seed alone, and each option has its own draws: switching one on leaves the
others' as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.experts.scene import Scene
from robolearn.sim.experts.script import OPEN, Memory, Motion, Script

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
STREAM = 5  # draws come from seed (s, STREAM)
EARLIEST, LATEST = 5, 0.6  # control step, and share of the task's steps, from and up to which pauses and stops begin
PAUSE = (5, 25)  # control steps of a pause
BRAKING = 4  # control steps in which a moving arm comes to rest
CARRIED = (8, 25)  # control steps from holding an object to dropping it
RELEASE = 6  # control steps for which the fingers then open
SHUT, WIDE = 0.05, 0.9  # shares of the gripper's width between which the fingers hold something, once closed
CLOSING = 0.004  # m per control step by which fingers that still close come nearer to each other
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How the episodes of a script differ, besides by noise; nothing does by default.

    Attributes:
        speed: range [low, high] from which an episode draws its share of the full speed; None is full speed.
        pauses: most pauses in an episode.
        drop: probability that the fingers open once while they carry something.
        stop: probability that the hand stays for good before the end.

    Raises:
        UserError: a value that cannot be.
    """

    speed: Sequence[float] | None = None
    pauses: int = 0
    drop: float = 0.0
    stop: float = 0.0

    def __post_init__(self) -> None:
        if self.speed is not None and (len(self.speed) != 2 or not 0 < self.speed[0] <= self.speed[1] <= 1):
            raise UserError(
                f"expert.speed={list(self.speed)} is no range of speeds: give two rising numbers above 0 and up to 1, "
                "e.g. [0.4,1.0]"
            )
        if self.pauses < 0:
            raise UserError(f"expert.pauses={self.pauses} is impossible: give 0 or more")
        for name, value in (("drop", self.drop), ("stop", self.stop)):
            if not 0 <= value <= 1:
                raise UserError(f"expert.{name}={value} is no probability: give a number from 0 to 1")


class VariedHand:
    """Asks a script in n worlds, and varies what the hand makes of it.

    Attributes:
        speed: share of the full speed [n].
        still: whether the hand stays in the present control step [n].
    """

    def __init__(self, variation: Variation, num_envs: int, *, max_steps: int) -> None:
        """Prepare n worlds of a task that usually takes up to `max_steps` control steps."""
        self._variation, self._latest = variation, max(EARLIEST, int(LATEST * max_steps))
        self.speed: Array = np.ones(num_envs)
        self.still: Mask = np.zeros(num_envs, bool)
        # from where to where the hand stays: the stop, then pauses
        self._begins, self._ends = np.full((2, num_envs, 1 + variation.pauses), NEVER)
        self._step, self._carried, self._releasing = np.zeros((3, num_envs), np.int64)
        self._drop_after = np.full(num_envs, NEVER)
        self._width: Array = np.zeros(num_envs)
        self._opening: Array = np.full(num_envs, OPEN)
        # how long it has stayed, and where: an arm that is told to stay drifts unless it is told where
        self._rested: NDArray[np.int64] = np.zeros(num_envs, np.int64)
        self._here: Array = np.zeros((num_envs, 3))

    def begin(self, world: int, seed: int) -> None:
        """Begin an episode in a world."""
        rng, how = np.random.default_rng((seed, STREAM)), self._variation
        slow, drops, stops = rng.random(3)
        drop_after = rng.integers(*CARRIED, endpoint=True)
        stop = rng.integers(EARLIEST, self._latest, endpoint=True)
        count = rng.integers(how.pauses, endpoint=True)
        pauses = rng.integers(EARLIEST, self._latest, size=how.pauses, endpoint=True)
        lengths = rng.integers(*PAUSE, size=how.pauses, endpoint=True)
        self.speed[world] = 1.0 if how.speed is None else how.speed[0] + slow * (how.speed[1] - how.speed[0])
        self._drop_after[world] = drop_after if drops < how.drop else NEVER
        self._begins[world], self._ends[world] = NEVER, NEVER
        self._begins[world, 0] = stop if stops < how.stop else NEVER
        drawn = slice(1, 1 + count)
        self._begins[world, drawn], self._ends[world, drawn] = pauses[:count], (pauses + lengths)[:count]
        self._step[world], self._rested[world], self._carried[world], self._releasing[world] = 0, 0, 0, 0
        self._opening[world] = OPEN

    def ask(self, script: Script, scene: Scene, memory: Memory) -> Motion:
        """What the script says, or to stay; where the hand is `still`, it is as if the script had not been asked."""
        step = self._step[:, None]
        self.still = np.any((self._begins <= step) & (step < self._ends), axis=1)
        self._step += 1
        self._rested = np.where(self.still, self._rested + 1, 0)
        self._here = np.where((self._rested > BRAKING)[:, None], self._here, scene.tool_pos)
        way = self._here - scene.tool_pos
        drops = self._drops(scene)
        known = deepcopy(memory) if self.still.any() else None
        motion = script(scene, memory)
        if known is not None:
            memory.restore(known, self.still)
        self._opening = np.where(self.still, self._opening, np.where(drops, OPEN, motion.opening))
        stays = self.still[:, None]
        move, turn = np.where(stays, way, motion.move), np.where(stays, 0.0, motion.turn)
        return Motion(move, turn, self._opening, motion.gain)

    def _drops(self, scene: Scene) -> Mask:
        """Whether the fingers open though they carry something [n]."""
        closed, closing = self._opening < OPEN / 2, self._width - scene.width > CLOSING
        between = (scene.width > SHUT * scene.widest) & (scene.width < WIDE * scene.widest)
        self._width = scene.width.copy()
        self._carried[~self.still] = np.where(closed & between & ~closing, self._carried + 1, 0)[~self.still]
        begins = ~self.still & (self._carried >= self._drop_after)
        self._drop_after[begins], self._releasing[begins] = NEVER, RELEASE
        drops = ~self.still & (self._releasing > 0)
        self._releasing[drops] -= 1
        return drops
