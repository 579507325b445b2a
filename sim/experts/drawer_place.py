"""Script of `drawer_place`: pull the drawer open, carry the cube into it, push it shut with closed fingers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.experts.picking import carry, hold, opened, pick, slipped, withdraw
from robolearn.sim.experts.scene import Scene, wrap
from robolearn.sim.experts.script import CLOSED, OPEN, Memory, Motion, Script, Step, about_vertical, arrived, sequence
from robolearn.sim.tasks.drawer_place import FLOOR, HALF, HANDLE, KNOB, RIM, TRAVEL, WIDTH, on_drawer, opening

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
PULL, ENOUGH = TRAVEL + 0.02, TRAVEL - 0.015  # m to which it pulls the drawer, and at which it lets go
HIGH = 0.07  # m over the table: clear of handle and drawer, also with the cube
ABOVE = np.array((0.0, 0.0, 0.045))  # m from handle to tool on the way to it
INNER = 0.008  # m from the drawer's middle to that of the part that comes clear of the cabinet
OVER = np.array((INNER, 0.0, FLOOR + HALF + HIGH))  # the cube over the drawer
DROP = np.array((INNER, 0.0, FLOOR + HALF + 0.01))  # and when the fingers let go
FRONT = HANDLE + np.array((KNOB[0] + 0.025, 0.0, 0.0))  # before it pushes
THROUGH = HANDLE + np.array((KNOB[0] - 0.01, 0.0, 0.0))  # where it pushes to: behind where the fingers then are
RAISING, CARRYING, LETTING_GO = 4, range(8, 11), 11  # steps


def _along(scene: Scene) -> Array:
    """Turn that brings the fingers to either side of the handle."""
    return about_vertical(wrap(scene.yaw["drawer"] - scene.tool_yaw, np.pi))


def _to(point: Array, *, opening: float, body: str = "drawer") -> Script:
    """Go to a point of the drawer's frame, or of the cabinet's."""

    def motion(scene: Scene, memory: Memory) -> Motion:
        way = on_drawer(point, scene.pos[body], scene.rot[body]) - scene.tool_pos
        return Motion(way, _along(scene), np.full(len(way), opening))

    return motion


def _to_handle(point: Array, *, opening: float) -> Script:
    exact = _to(point, opening=opening)

    def motion(scene: Scene, memory: Memory) -> Motion:
        there = exact(scene, memory)
        return there._replace(move=there.move + memory.aim)

    return motion


def _pull(scene: Scene, memory: Memory) -> Motion:
    left = PULL - opening(scene.pos["cabinet"], scene.pos["drawer"])
    way = on_drawer(HANDLE, scene.pos["drawer"], scene.rot["drawer"]) - scene.tool_pos
    way += left[:, None] * scene.rot["drawer"][:, :, 0]
    return Motion(way, np.zeros_like(way), np.full(len(way), CLOSED))


def _carry(point: Array) -> Script:
    """Bring the held cube to a point of the drawer's frame."""
    straight = carry("cube", lambda s, m: on_drawer(point, s.pos["drawer"], s.rot["drawer"]))
    return lambda scene, memory: straight(scene, memory)._replace(turn=_along(scene))


def _up(scene: Scene, memory: Memory) -> Array:
    goal = scene.pos["cube"].copy()
    goal[:, 2] = HIGH + 0.03
    return goal


def _is_open(scene: Scene) -> Mask:
    return opening(scene.pos["cabinet"], scene.pos["drawer"]) > ENOUGH


def _is_inside(scene: Scene) -> Mask:
    beside = np.linalg.norm((scene.pos["cube"] - scene.pos["drawer"])[:, :2], axis=1)
    return (beside < WIDTH) & (scene.pos["cube"][:, 2] < RIM)


def _high(scene: Scene, memory: Memory, motion: Motion) -> Mask:
    return scene.tool_pos[:, 2] > HIGH


def _or_open(done: Callable[[Scene, Memory, Motion], Mask]) -> Callable[[Scene, Memory, Motion], Mask]:
    """Condition: the step is done, or the drawer is open already."""
    return lambda scene, memory, motion: done(scene, memory, motion) | _is_open(scene)


_slipped = slipped("cube", carrying=CARRYING)


def _lost(scene: Scene, memory: Memory) -> Mask:
    """The drawer did not come along, or the cube is neither in the fingers nor in the drawer."""
    unopened = (memory.phase == RAISING) & ~_is_open(scene)
    dropped = _slipped(scene, memory) | (memory.phase > LETTING_GO)
    return unopened | (dropped & ~_is_inside(scene))


drawer_place = sequence(
    Step(_to_handle(HANDLE + ABOVE, opening=OPEN), _or_open(arrived(0.02))),
    Step(_to_handle(HANDLE, opening=OPEN), _or_open(arrived(0.01)), patience=20),
    Step(hold(CLOSED), _or_open(lambda s, m, _: s.width < 2 * KNOB[1] + 0.003), patience=12),
    Step(_pull, lambda s, m, _: _is_open(s), patience=30),
    Step(withdraw, _high),
    *pick("cube"),
    Step(carry("cube", _up), arrived(0.03)),
    Step(_carry(OVER), arrived(0.025)),
    Step(_carry(DROP), arrived(0.008), patience=20),
    Step(hold(OPEN), opened, patience=12),
    Step(withdraw, _high),
    Step(_to(FRONT + ABOVE, opening=CLOSED), arrived(0.02)),
    Step(_to(FRONT, opening=CLOSED), arrived(0.012), patience=20),
    Step(_to(THROUGH, opening=CLOSED, body="cabinet"), lambda s, m, _: np.zeros(len(s.width), bool)),
    lost=_lost,
)
