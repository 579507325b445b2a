"""Script of `stack`: pick one cube, set it down on the other."""

from __future__ import annotations

from robolearn.sim.experts.picking import Array, Mask, pick_and_put
from robolearn.sim.experts.scene import Scene
from robolearn.sim.tasks.stack import HALF_A, HALF_B


def _top(scene: Scene) -> Array:
    return scene.pos["cube_b"] + (0, 0, HALF_A + HALF_B)


def _fallen(scene: Scene) -> Mask:
    return scene.pos["cube_a"][:, 2] < _top(scene)[:, 2] - HALF_A


stack = pick_and_put("cube_a", _top, over=0.03, missed=_fallen)
