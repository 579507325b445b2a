"""Script of `peg_insert`: grasp the peg near its top, settle over the hole, go down watching its lower end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.experts.picking import hold
from robolearn.sim.experts.scene import Scene, wrap
from robolearn.sim.experts.script import CLOSED, OPEN, Memory, Motion, Script, Step, about_vertical, arrived, sequence
from robolearn.sim.tasks.peg_insert import CLEARANCE, DEEP, HEIGHT, PEG, grip_point, lower_end

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
ABOVE = 0.06  # m over the peg on the way to it
LOW = HEIGHT + 0.006  # height of the peg's lower end while it settles over the hole, m
TRUE, PARALLEL = CLEARANCE / 4, 0.015  # m and rad beside the hole from where the peg may go in
RELAX = 20  # control steps of settling that double the first: with noise it is hardly ever true
LEARN, FINE = 0.25, 0.003  # share of the error that a step adds to the correction; m of the error that count
IN, GENTLE = HEIGHT - 0.003, 0.02  # m: a lower end below the one is in the hole; until then the way down is the other
PUSH = 0.01  # m below the table that it aims at, so that it does not stop short of it
LIFTING, SETTLING, INSERTING = 3, 5, 6  # steps
TOUCHED, JAMMED = 5, 15  # control steps after which a peg should be in the hole, and at its bottom


def _grip(*, above: float) -> Script:
    def motion(scene: Scene, memory: Memory) -> Motion:
        way = grip_point(scene.pos["peg"], scene.rot["peg"]) + memory.aim + (0, 0, above) - scene.tool_pos
        turn = wrap(scene.yaw["peg"] - scene.tool_yaw, np.pi / 2)
        return Motion(way, about_vertical(turn), np.full(len(way), OPEN))

    return motion


def _end(scene: Scene) -> Array:
    return lower_end(scene.pos["peg"], scene.rot["peg"], PEG[2])


def _over(height: float) -> Script:
    """Bring the peg's lower end to `height` m over the middle of the hole, its sides parallel to the hole's."""

    def motion(scene: Scene, memory: Memory) -> Motion:
        way = scene.pos["block"] + (0, 0, height) - _end(scene)
        turn = wrap(scene.yaw["block"] - scene.yaw["peg"], np.pi / 2)
        return Motion(way + memory.note("correction", 3), about_vertical(turn), np.full(len(way), CLOSED))

    return motion


def _beside(scene: Scene) -> Array:
    return (scene.pos["block"] - _end(scene))[:, :2]


def _settle(scene: Scene, memory: Memory) -> Motion:
    """Stay over the hole and learn the correction: the arm's pull towards its posture shifts the tool a little."""
    here = memory.phase == SETTLING
    memory.note("correction", 3)[here, :2] += LEARN * np.clip(_beside(scene), -FINE, FINE)[here]
    return _over(LOW)(scene, memory)


def _settled(scene: Scene, memory: Memory, motion: Motion) -> Mask:
    true = np.linalg.norm(_beside(scene), axis=1) < TRUE * (1 + memory.clock / RELAX)
    return true & (np.abs(motion.turn[:, 2]) < PARALLEL)


def _insert(scene: Scene, memory: Memory) -> Motion:
    motion = _over(-PUSH)(scene, memory)
    slowest = np.where(_end(scene)[:, 2] > IN, -GENTLE, -np.inf)
    motion.move[:, 2] = np.maximum(motion.move[:, 2], slowest)
    return motion


def _lift(scene: Scene, memory: Memory) -> Motion:
    up = np.tile((0.0, 0.0, 0.07), (len(scene.width), 1))
    return Motion(up, np.zeros_like(up), np.full(len(up), CLOSED))


def _lifted(scene: Scene, memory: Memory, motion: Motion) -> Mask:
    return _end(scene)[:, 2] > HEIGHT


def _lost(scene: Scene, memory: Memory) -> Mask:
    """The peg has slipped out of the fingers."""
    away = np.linalg.norm(grip_point(scene.pos["peg"], scene.rot["peg"]) - scene.tool_pos, axis=1) > 0.03
    return away & (memory.phase >= LIFTING) & (memory.phase <= INSERTING)


_steps = sequence(
    Step(_grip(above=ABOVE), arrived(0.03)),
    Step(_grip(above=0.0), arrived(0.008), patience=25),
    Step(hold(CLOSED), lambda s, m, _: s.width < 2 * PEG[0] + 0.003, patience=12),
    Step(_lift, _lifted, patience=20),
    Step(_over(LOW + 0.01), arrived(0.015)),
    Step(_settle, _settled, patience=40),
    Step(_insert, lambda s, m, _: _end(s)[:, 2] < DEEP / 2),
    Step(hold(OPEN), lambda s, m, _: np.zeros(len(s.width), bool)),
    lost=_lost,
)


def peg_insert(scene: Scene, memory: Memory) -> Motion:
    """Take the steps; a peg that does not go in is raised again."""
    patience = np.where(_end(scene)[:, 2] > IN, TOUCHED, JAMMED)
    stuck = (memory.phase == INSERTING) & (memory.clock > patience)
    memory.phase[stuck], memory.clock[stuck] = SETTLING, 0
    return _steps(scene, memory)
