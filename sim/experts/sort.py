"""Script of `sort`: pick the object that is asked for, carry it over the bin that is asked for, drop it."""

from __future__ import annotations

import numpy as np

from robolearn.sim.experts.picking import Array, carry, hold, opened, pick, slipped, withdraw
from robolearn.sim.experts.scene import Scene
from robolearn.sim.experts.script import OPEN, Memory, Motion, Step, arrived, sequence, waited
from robolearn.sim.tasks.bins import RIM
from robolearn.sim.tasks.sort import BINS, OBJECTS, TARGET, THING

OVER = 0.06  # m from the rim to the middle of the object on the way
DROP = 0.02  # the same when it lets go


def _up(scene: Scene, memory: Memory) -> Array:
    goal = scene.pos[THING].copy()
    goal[:, 2] = RIM + OVER
    return goal


def _above(scene: Scene, height: float) -> Array:
    return scene.pos[TARGET] + (0, 0, RIM + height)


_script = sequence(
    *pick(THING),
    Step(carry(THING, _up), arrived(0.03)),
    Step(carry(THING, lambda s, m: _above(s, OVER)), arrived(0.02)),
    Step(carry(THING, lambda s, m: _above(s, DROP)), arrived(0.012), patience=15),
    Step(hold(OPEN), opened, patience=12),
    Step(withdraw, waited(20)),
    lost=slipped(THING, carrying=range(3, 6)),
)


def sort(scene: Scene, memory: Memory) -> Motion:
    """Name what is asked for, then do as with any one object and bin."""
    thing, target = np.divmod(scene.goal, len(BINS))
    worlds = np.arange(len(thing))
    for values in (scene.pos, scene.yaw):
        values[THING] = np.stack([values[name] for name in OBJECTS])[thing, worlds]
        values[TARGET] = np.stack([values[name] for name in BINS])[target, worlds]
    return _script(scene, memory)
