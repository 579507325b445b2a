"""Steps that scripts share: take a box from above, carry it somewhere, let go."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.experts.scene import Scene, wrap
from robolearn.sim.experts.script import (
    CLOSED,
    OPEN,
    Memory,
    Motion,
    Script,
    Step,
    about_vertical,
    arrived,
    sequence,
    waited,
)

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
HOVER = 0.06  # m above a box before going down
SLIPPED = 0.04  # m between tool and body that mean that it has slipped out of the fingers
CARRYING, LEAVING = range(3, 6), 7  # steps of `pick_and_put` with the box in the fingers, and the last one


def pick_and_put(
    body: str, place: Callable[[Scene], Array], *, over: float, missed: Callable[[Scene], Mask], within: float = 0.004
) -> Script:
    """Take a box, carry it to a place, let go, withdraw; begin anew where it slips or ends elsewhere.

    Args:
        body: the box.
        place: where its centre shall be when the fingers open [n, 3], m.
        over: m above that place at which it is carried there.
        missed: whether a box that was let go is not where it should be [n].
        within: m from the place that are near enough to let go.
    """

    def goal(scene: Scene, memory: Memory, height: float) -> Array:
        return place(scene) + memory.aim * (1, 1, 0) + (0, 0, height)

    def up(scene: Scene, memory: Memory) -> Array:
        target = goal(scene, memory, over)
        target[:, :2] = scene.pos[body][:, :2]
        return target

    slip = slipped(body, carrying=CARRYING)

    def lost(scene: Scene, memory: Memory) -> Mask:
        return slip(scene, memory) | (missed(scene) & (memory.phase == LEAVING))

    return sequence(
        *pick(body),
        Step(carry(body, up), arrived(0.03)),
        Step(carry(body, lambda s, m: goal(s, m, over)), arrived(3 * within)),
        Step(carry(body, lambda s, m: goal(s, m, 0.0)), arrived(within), patience=15),
        Step(hold(OPEN), opened, patience=12),
        Step(withdraw, waited(20)),
        lost=lost,
    )


def pick(body: str) -> tuple[Step, ...]:
    """Hover over a box, align, go down, close."""

    def above(height: float) -> Script:
        def motion(scene: Scene, memory: Memory) -> Motion:
            way = scene.pos[body] + memory.aim + (0, 0, height) - scene.tool_pos
            turn = wrap(scene.yaw[body] - scene.tool_yaw, np.pi / 2)
            return Motion(way, about_vertical(turn), np.full(len(way), OPEN))

        return motion

    return (
        Step(above(HOVER), arrived(0.03)),
        Step(above(0.0), arrived(0.008), patience=30),
        Step(hold(CLOSED), waited(8)),
    )


def hold(opening: float) -> Script:
    """Stay where the step began and set the fingers to a share of the gripper's width."""

    def motion(scene: Scene, memory: Memory) -> Motion:
        here, begins = memory.note("hold", 3), memory.clock == 0
        here[begins] = scene.tool_pos[begins]
        return Motion(here - scene.tool_pos, np.zeros_like(here), np.full(len(here), opening))

    return motion


def carry(body: str, place: Callable[[Scene, Memory], Array]) -> Script:
    """Bring the held body's centre to a place [n, 3], m."""

    def motion(scene: Scene, memory: Memory) -> Motion:
        way = place(scene, memory) - scene.pos[body]
        return Motion(way, np.zeros_like(way), np.full(len(way), CLOSED))

    return motion


def opened(scene: Scene, memory: Memory, motion: Motion) -> Mask:
    """Condition: the fingers are far apart."""
    return scene.width > 0.8 * scene.widest


def withdraw(scene: Scene, memory: Memory) -> Motion:
    """Go straight up with open fingers."""
    up = np.tile((0.0, 0.0, 0.1), (len(scene.width), 1))
    return Motion(up, np.zeros_like(up), np.full(len(up), OPEN))


def slipped(body: str, *, carrying: range) -> Callable[[Scene, Memory], Mask]:
    """Condition: a body is not in the fingers in the steps in which it should be."""

    def lost(scene: Scene, memory: Memory) -> Mask:
        away = np.linalg.norm(scene.pos[body] - scene.tool_pos, axis=1) > SLIPPED
        return away & (memory.phase >= carrying.start) & (memory.phase < carrying.stop)

    return lost
