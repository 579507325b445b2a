"""Script of `sort`: pick the object that is asked for and drop it into the bin that is asked for."""

from __future__ import annotations

import numpy as np

from robolearn.sim.experts.picking import Array, Mask, pick_and_put
from robolearn.sim.experts.scene import Scene
from robolearn.sim.experts.script import Memory, Motion
from robolearn.sim.tasks.bins import OUTER, RIM
from robolearn.sim.tasks.sort import BINS, OBJECTS, TARGET, THING

DROP = RIM + 0.02  # height at which the object is let go, m: the fingers open above the rim
OVER = 0.04  # m above that on the way: over the other objects


def _over_bin(scene: Scene) -> Array:
    return scene.pos[TARGET] + (0, 0, DROP)


def _beside(scene: Scene) -> Mask:
    return np.linalg.norm((scene.pos[THING] - scene.pos[TARGET])[:, :2], axis=1) > OUTER


_pick_and_put = pick_and_put(THING, _over_bin, over=OVER, missed=_beside, within=0.015)


def sort(scene: Scene, memory: Memory) -> Motion:
    """Name what is asked for, then do as with any one object and bin."""
    thing, target = np.divmod(scene.goal, len(BINS))
    worlds = np.arange(len(thing))
    for values in (scene.pos, scene.yaw):
        values[THING] = np.stack([values[name] for name in OBJECTS])[thing, worlds]
        values[TARGET] = np.stack([values[name] for name in BINS])[target, worlds]
    return _pick_and_put(scene, memory)
