"""Script of `wall_pivot`: press the box against the wall, raise its near edge along an arc, grasp it standing."""

from __future__ import annotations

import numpy as np

from robolearn.sim.experts.picking import Array, Mask, hold
from robolearn.sim.experts.scene import Scene, wrap
from robolearn.sim.experts.script import CLOSED, OPEN, Memory, Motion, Step, about_vertical, arrived, sequence, waited
from robolearn.sim.tasks.wall_pivot import HALF, WALL

LENGTH, THICK = 2 * HALF[0], 2 * HALF[2]
FINGER = 0.009  # m from the tool point to the side of the closed fingers
ABOVE = 0.08  # height of the tool on the way behind the box, m
BEHIND = 0.05  # m between fingers and box before pushing
LOW = 0.012  # height of the tool while it pushes, m
LEAD = 0.03  # m by which the commanded fingers press into the box on the way to the wall
PRESS = 0.010  # m by which they do at the wall
NEAR = 0.005  # m between fingers and box that count as touching
AT_WALL = 1.06  # half lengths from the wall to the middle of the box when it is there; sizes may vary
FLAT = 0.05  # rad, tilt below which the box still lies
AHEAD = 0.8  # rad by which the commanded tilt leads
UP = 1.45  # rad, beyond which the box falls against the wall by itself
SLIPPED = 0.035  # m that the tool is over the box's near edge when it has slipped off
GRIP = 0.017  # m from the top of the standing box down to where the fingers take hold
PIVOTING, LIFTING = 3, 8  # steps of the script


def _into(scene: Scene) -> Array:
    """Horizontal direction [n, 3] into the wall."""
    return scene.rot["wall"][:, :, 0]


def _tilt(scene: Scene) -> Array:
    """Angle [n] by which the box's near edge is up, rad."""
    far = scene.rot["box"][:, :, 0]
    return np.arctan2(-far[:, 2], np.einsum("ni,ni->n", far, _into(scene)))


def _before(scene: Scene) -> Array:
    """Distance [n] from the wall's face to the middle of the box, m."""
    return np.einsum("ni,ni->n", scene.pos["wall"] - scene.pos["box"], _into(scene)) - WALL[0]


def _go(scene: Scene, goal: Array, opening: float, *, across: float = 0.0) -> Motion:
    """Go to a point; the fingers open along the wall, or, turned by pi/2, across it."""
    angle = wrap(scene.yaw["wall"] + across - scene.tool_yaw, np.pi)
    return Motion(goal - scene.tool_pos, about_vertical(angle), np.full(len(goal), opening))


def _at(scene: Scene, memory: Memory, *, out: Array | float, height: Array | float) -> Array:
    """Point [n, 3] opposite the middle of the box, `out` m from the wall's face."""
    into, along = _into(scene), scene.rot["wall"][:, :, 1]
    goal = scene.pos["wall"] - (WALL[0] + np.asarray(out))[..., None] * into
    aside = np.einsum("ni,ni->n", scene.pos["box"] + memory.aim - goal, along)
    goal = goal + aside[:, None] * along
    goal[:, 2] = height
    return goal


def _behind(scene: Scene, memory: Memory, height: float) -> Motion:
    out = _before(scene) + HALF[0] + FINGER + BEHIND
    return _go(scene, _at(scene, memory, out=out, height=height), CLOSED)


def _push(scene: Scene, memory: Memory) -> Motion:
    before = _before(scene)
    lead = np.clip(before - HALF[0], PRESS, LEAD)
    # a little upwards: fingers that drag the box down jam it on the table
    return _go(scene, _at(scene, memory, out=before + HALF[0] + FINGER - lead, height=LOW + 0.003), CLOSED)


def _against(scene: Scene, memory: Memory, motion: Motion) -> Mask:
    """The fingers are at the box, and the box, whose size may vary a little, is at the wall."""
    pressing = np.einsum("ni,ni->n", motion.move, _into(scene)) < PRESS + NEAR
    return pressing & (_before(scene) < AT_WALL * HALF[0])


def _felt(scene: Scene, memory: Memory) -> Array:
    """Half the length [n] of the box, m: its middle's way from the wall when it begins to tilt, as sizes may vary."""
    half = memory.note("half")
    begins = (memory.phase == PIVOTING) & ((_tilt(scene) < FLAT) | (half == 0))
    half[begins] = _before(scene)[begins]
    return half


def _pivot(scene: Scene, memory: Memory) -> Motion:
    """Move along the arc of the near edge while the far side slides down the wall and the far edge out from it.

    At tilt a the far edge is THICK sin a from the wall, the near edge length * cos a further out and
    length * sin a up. Pressed against the near edge, upright fingers touch nothing else of the box.
    """
    length = 2 * _felt(scene, memory)
    angle = np.minimum(_tilt(scene) + AHEAD, np.pi / 2)
    out = THICK * np.sin(angle) + length * np.cos(angle) + FINGER - PRESS
    return _go(scene, _at(scene, memory, out=out, height=length * np.sin(angle) + LOW), CLOSED)


def _stands(scene: Scene, memory: Memory, motion: Motion) -> Mask:
    return _tilt(scene) > UP


def _away(scene: Scene, memory: Memory) -> Motion:
    return _go(scene, _at(scene, memory, out=0.09, height=LENGTH + 0.06), OPEN, across=np.pi / 2)


def _over(scene: Scene, memory: Memory, above: float) -> Motion:
    """Go over the middle of the standing box, `above` m from its top."""
    goal = scene.pos["box"] + memory.aim
    goal[:, 2] = 2 * scene.pos["box"][:, 2] + above
    return _go(scene, goal, OPEN, across=np.pi / 2)


def _rise(scene: Scene, memory: Memory) -> Motion:
    up = np.zeros_like(scene.tool_pos)
    up[:, 2] = 0.1
    return Motion(up, np.zeros_like(up), np.full(len(up), CLOSED))


def _fallen(scene: Scene, memory: Memory) -> Mask:
    """The box has slipped off the fingers while it was tilted, or fallen back after."""
    edge = LENGTH * np.sin(np.maximum(_tilt(scene), 0.0))
    slipped = (memory.phase == PIVOTING) & (scene.tool_pos[:, 2] > edge + SLIPPED)
    return slipped | ((memory.phase > PIVOTING) & (memory.phase < LIFTING) & (_tilt(scene) < 1.0))


wall_pivot = sequence(
    Step(lambda s, m: _behind(s, m, ABOVE), arrived(0.02)),
    Step(lambda s, m: _behind(s, m, LOW), arrived(0.006), patience=30),
    Step(_push, _against, patience=40),
    Step(_pivot, _stands, patience=60),
    Step(_away, arrived(0.03)),
    Step(lambda s, m: _over(s, m, 0.05), arrived(0.01)),
    Step(lambda s, m: _over(s, m, -GRIP), arrived(0.008), patience=30),
    Step(hold(CLOSED), waited(10)),
    Step(_rise, waited(10**6)),
    lost=_fallen,
)
