"""Script of `pick_place`: pick the cube, drop it into the bin."""

from __future__ import annotations

import numpy as np

from robolearn.sim.experts.picking import Array, Mask, pick_and_put
from robolearn.sim.experts.scene import Scene
from robolearn.sim.tasks.bins import OUTER, RIM

DROP = RIM + 0.02  # height at which the cube is let go, m: the fingers open above the rim


def _over_bin(scene: Scene) -> Array:
    return scene.pos["bin"] + (0, 0, DROP)


def _beside(scene: Scene) -> Mask:
    return np.linalg.norm((scene.pos["cube"] - scene.pos["bin"])[:, :2], axis=1) > OUTER


pick_place = pick_and_put("cube", _over_bin, over=0.02, missed=_beside, within=0.015)
