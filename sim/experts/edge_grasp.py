"""Script of `edge_grasp`: push the box from behind, come round to the edge, pinch the rim, lift."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.experts.picking import hold
from robolearn.sim.experts.scene import Scene, rotation_vector
from robolearn.sim.experts.script import CLOSED, OPEN, Memory, Motion, Step, arrived, sequence, waited
from robolearn.sim.tasks.edge_grasp import HALF, SHELF

Array = NDArray[np.float64]
OVERHANG = 0.045  # m to push the box over the edge
BEHIND = 0.04  # m from the far side of the box to the tool before pushing
ABOVE = 0.07  # m over the box when going round
FINGER = 0.01  # m from the tool point to the side of the closed fingers
INTO = 0.022  # m from the rim's tip to where the fingers take hold
AWAY = np.array((0.0, -0.01, 0.1))  # m that the hand is still to go while it lifts
UP = np.array((0.0, 0.0, 1.0))
DOWN = np.diag((1.0, -1.0, -1.0))  # the gripper points down, the fingers open along y
SIDEWAYS = np.array(((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)))  # it points along y, the fingers open upright


def _turn(scene: Scene, wanted: Array) -> Array:
    return rotation_vector(wanted @ scene.tool_rot.swapaxes(1, 2))


def _go(scene: Scene, goal: Array, wanted: Array, opening: float, gain: float = 0.3) -> Motion:
    n = len(goal)
    return Motion(goal - scene.tool_pos, _turn(scene, wanted), np.full(n, opening), gain)


def _edge(scene: Scene) -> Array:
    return scene.pos["shelf"][:, 1] - SHELF[1]


def _behind(scene: Scene, memory: Memory, *, height: float) -> Array:
    box = scene.pos["box"] + memory.aim
    return box + np.array((0.0, HALF[1] + BEHIND, height))


def _rim(scene: Scene, *, out: float) -> Array:
    """Point `out` m outside the tip of the rim."""
    goal = scene.pos["box"].copy()
    goal[:, 1] -= HALF[1] + out
    return goal


def _push(scene: Scene, memory: Memory) -> Motion:
    goal = _behind(scene, memory, height=0.0)
    goal[:, 1] = _edge(scene) - OVERHANG + 2 * HALF[1] + FINGER
    return _go(scene, goal, DOWN, CLOSED, gain=0.15)


def _pushed(scene: Scene, memory: Memory, motion: Motion) -> NDArray[np.bool_]:
    return _edge(scene) - (scene.pos["box"][:, 1] - HALF[1]) > OVERHANG - 0.004


edge_grasp = sequence(
    Step(lambda s, m: _go(s, _behind(s, m, height=ABOVE), DOWN, CLOSED), arrived(0.02)),
    Step(lambda s, m: _go(s, _behind(s, m, height=0.003), DOWN, CLOSED), arrived(0.012)),
    Step(_push, _pushed, patience=60),
    Step(lambda s, m: _go(s, _behind(s, m, height=0.003), DOWN, CLOSED), arrived(0.02)),
    Step(lambda s, m: _go(s, _behind(s, m, height=ABOVE), DOWN, CLOSED), arrived(0.03)),
    Step(lambda s, m: _go(s, _rim(s, out=0.07) + ABOVE * UP, SIDEWAYS, OPEN), arrived(0.03, angle=0.5)),
    Step(lambda s, m: _go(s, _rim(s, out=0.05) + m.aim, SIDEWAYS, OPEN), arrived(0.01, angle=0.1)),
    Step(lambda s, m: _go(s, _rim(s, out=-INTO) + m.aim, SIDEWAYS, OPEN), arrived(0.008, angle=0.1), patience=40),
    Step(hold(CLOSED), waited(8)),
    Step(lambda s, m: _go(s, s.tool_pos + AWAY, SIDEWAYS, CLOSED), waited(10**6)),
)
