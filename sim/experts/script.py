"""What a script is: from a scene and its memory to a motion; and how to string steps together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.experts.scene import Scene

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
OPEN, CLOSED = 1.0, 0.0  # share of the gripper's width


@dataclass
class Memory:
    """What a script remembers of n worlds; the expert clears it where an episode begins.

    Attributes:
        aim: where the expert errs in this episode [n, 3], m.
        phase: index of the present step [n].
        clock: control steps spent in it [n].
        notes: a script's own arrays [n, ...] by name, zero at the beginning of an episode; it
            remembers nothing elsewhere.
    """

    aim: Array
    phase: NDArray[np.int64]
    clock: NDArray[np.int64]
    notes: dict[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def empty(cls, n: int) -> Memory:
        """Memory of n worlds at the beginning."""
        return cls(np.zeros((n, 3)), np.zeros(n, np.int64), np.zeros(n, np.int64))

    def clear(self, world: int) -> None:
        """Begin an episode in a world."""
        for values in (self.aim, self.phase, self.clock, *self.notes.values()):
            values[world] = 0

    def restore(self, before: Memory, worlds: Mask) -> None:
        """Forget in masked worlds [n] what has come since `before`, a deep copy."""
        self.aim[worlds], self.phase[worlds] = before.aim[worlds], before.phase[worlds]
        self.clock[worlds] = before.clock[worlds]
        for name, values in self.notes.items():
            values[worlds] = before.notes[name][worlds] if name in before.notes else 0

    def note(self, name: str, *shape: int, dtype: type = float) -> NDArray[Any]:
        """A script's own array [n, *shape], live."""
        return self.notes.setdefault(name, np.zeros((len(self.phase), *shape), dtype))


class Motion(NamedTuple):
    """What the hand of each of n worlds shall do.

    Attributes:
        move: way still to go [n, 3] in the base frame, m.
        turn: rotation vector still to go [n, 3] in the base frame, rad.
        opening: share of the gripper's width [n].
        gain: share of the way and turn taken in a control step, [n] or one number.
    """

    move: Array
    turn: Array
    opening: Array
    gain: Array | float = 0.3  # more overshoots: the arm's acceleration is limited


Script = Callable[[Scene, Memory], Motion]


class Step(NamedTuple):
    """One step of a sequence.

    Attributes:
        motion: what to do.
        done: whether the next step may begin -> [n]; sees the scene, the memory and this step's motion.
        patience: control steps after which the next one begins anyway; None waits for ever.
    """

    motion: Script
    done: Callable[[Scene, Memory, Motion], Mask]
    patience: int | None = None


def sequence(*steps: Step, lost: Callable[[Scene, Memory], Mask] | None = None) -> Script:
    """A script that takes its steps in order; the last one goes on. Where `lost` holds it begins anew.

    A step's motion is asked for all worlds as soon as one of them is in it: what it writes into `memory.notes` must be
    masked by `memory.phase`.
    """

    def script(scene: Scene, memory: Memory) -> Motion:
        if lost is not None:
            again = lost(scene, memory)
            memory.phase[again], memory.clock[again] = 0, 0
        n = len(memory.phase)
        chosen = (np.zeros((n, 3)), np.zeros((n, 3)), np.ones(n), np.ones(n))
        for k, step in enumerate(steps):
            here = memory.phase == k
            if not here.any():
                continue
            motion = step.motion(scene, memory)
            for target, values in zip(chosen, motion, strict=True):
                target[here] = np.broadcast_to(values, target.shape)[here]
            over = step.done(scene, memory, motion)
            if step.patience is not None:
                over = over | (memory.clock >= step.patience)
            onward = here & over & (k + 1 < len(steps))
            memory.clock[here] += 1
            memory.phase[onward], memory.clock[onward] = k + 1, 0
        return Motion(*chosen)

    return script


def arrived(distance: float, *, angle: float = 0.15, after: int = 0) -> Callable[[Scene, Memory, Motion], Mask]:
    """Condition: way to go below `distance` m, turn below `angle` rad, at least `after` control steps spent."""

    def done(scene: Scene, memory: Memory, motion: Motion) -> Mask:
        way, turn = np.linalg.norm(motion.move, axis=1), np.linalg.norm(motion.turn, axis=1)
        return (way < distance) & (turn < angle) & (memory.clock >= after)

    return done


def waited(steps: int) -> Callable[[Scene, Memory, Motion], Mask]:
    """Condition: so many control steps spent in this step."""
    return lambda scene, memory, motion: memory.clock >= steps


def about_vertical(angle: Array) -> Array:
    """Rotation vectors [n, 3] of turns [n] about the vertical."""
    return np.stack((np.zeros_like(angle), np.zeros_like(angle), angle), axis=1)
