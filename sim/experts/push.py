"""Script of `push`: plan two strokes, make the first with closed fingers, look again.

In a stroke the flat side of the fingers lies against a side of the plate and both move like one rigid body, along
the arc that friction under the plate agrees with: a stable push (Lynch and Mason, "Stable pushing: mechanics,
controllability, and planning", 1996). The arc follows from the ellipsoidal limit surface of sliding friction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.experts.scene import Scene, wrap
from robolearn.sim.experts.script import CLOSED, Memory, Motion, Step, about_vertical, arrived, sequence, waited
from robolearn.sim.tasks.push import ANGLE, EXACT, HALF

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LENGTH = 0.8 * float(np.hypot(*HALF[:2]))  # m: largest friction torque over force; the plate rests on its corners
ARM = 0.06  # m by which an error of 1 rad counts as much as one of position
AGAIN, FAR = 0.005, 0.05  # m of error that a second stroke must save, and m per m that the plate travels
FINGER = 0.0105  # half the width of the closed fingers, m
ROOM = 0.015  # m between fingers and plate where they come down
LOW, HIGH = 0.013, 0.05  # height of the tool while pushing, and while passing over the plate, m
SPEED = 0.008  # m per control step
LEAD = 4  # control steps by which the goal runs ahead of the tool
OFFSETS = np.array((-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6))  # from a side's middle, as a share of half its length
ADVANCE = np.geomspace(0.005, 0.2, 16)  # of the plate's middle, m
SURE = 0.8  # share of the task's tolerances within which no further stroke is made


def _rotated(angle: Array, xy: Array) -> Array:
    """Vectors [..., 2] turned by angles [...] in rad."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack((cos * xy[..., 0] - sin * xy[..., 1], sin * xy[..., 0] + cos * xy[..., 1]), axis=-1)


def _moved(twist: Array, share: Array) -> Array:
    """Pose (x, y, yaw) [..., 3] after a share [...] of an arc; `twist` [..., 3] is the whole arc's."""
    turn = twist[..., 2] * share
    chord = share * np.sinc(turn / (2 * np.pi))  # sin(turn / 2) / (turn / 2) of the arc's length, halfway turned
    return np.concatenate((_rotated(turn / 2, twist[..., :2]) * chord[..., None], turn[..., None]), axis=-1)


def _after(first: Array, second: Array) -> Array:
    """Pose [..., 3] of what has the pose `second` in a frame that has the pose `first`."""
    xy = first[..., :2] + _rotated(first[..., 2], second[..., :2])
    return np.concatenate((xy, first[..., 2:] + second[..., 2:]), axis=-1)


def _strokes() -> tuple[Array, Array]:
    """Strokes on the plate, in its frame: twists [m, 3] and the contacts' x, y and direction of the normal [m, 3]."""
    quarter, share, advance = (a.ravel() for a in np.meshgrid(np.arange(4), OFFSETS, ADVANCE, indexing="ij"))
    depth = np.where(quarter % 2 == 0, HALF[0], HALF[1])
    offset = share * np.where(quarter % 2 == 0, HALF[1], HALF[0])
    # force f along the normal and a contact that does not slip: velocity (f, -depth * turn), turn as follows
    turn = offset * advance / (LENGTH**2 + depth**2)
    normal = quarter * (np.pi / 2)
    shift = _rotated(normal, np.stack((-advance, -depth * turn), axis=1))
    contact = _rotated(normal, np.stack((depth, offset), axis=1))
    return np.column_stack((shift, turn)), np.column_stack((contact, normal))


TWISTS, CONTACTS = _strokes()
TRAVEL = np.linalg.norm(TWISTS[:, :2], axis=1)
_ends = _moved(TWISTS, np.ones(len(TWISTS)))
ONCE = np.ascontiguousarray(_ends.T)  # where the plate is after each stroke [3, m]
TWICE = np.ascontiguousarray(np.moveaxis(_after(_ends[:, None], _ends), -1, 0))  # and after a second one [3, m, m]


def _error(scene: Scene) -> Array:
    """Pose (x, y, yaw) [n, 3] of the goal in the plate's frame, m and rad."""
    way = (scene.pos["goal"] - scene.pos["plate"])[:, :2]
    turn = wrap(scene.yaw["goal"] - scene.yaw["plate"], np.pi)
    return np.column_stack((_rotated(-scene.yaw["plate"], way), turn))


def _miss(error: Array, poses: Array) -> Array:
    x, y, turn = (e - p for e, p in zip(error, poses, strict=True))
    return np.sqrt(x * x + y * y + (ARM * turn) ** 2)


def _best(error: Array) -> int:
    """Which stroke to begin with, given the error [3]."""
    once = _miss(error, ONCE) + FAR * TRAVEL
    twice = _miss(error, TWICE) + FAR * (TRAVEL[:, None] + TRAVEL) + AGAIN
    return int(np.minimum(once, twice.min(axis=1)).argmin())


def _choose(scene: Scene, memory: Memory) -> None:
    """Where a stroke begins, note the plate's pose, the arc and the contact."""
    pose = np.column_stack((scene.pos["plate"][:, :2] + memory.aim[:, :2], scene.yaw["plate"]))
    error = _error(scene)
    for world in np.flatnonzero((memory.phase == 0) & (memory.clock == 0)):
        stroke = _best(error[world])
        memory.note("plate", 3)[world] = pose[world]
        memory.note("twist", 3)[world] = TWISTS[stroke]
        memory.note("contact", 3)[world] = CONTACTS[stroke]


def _go(scene: Scene, memory: Memory, *, share: Array | float, gap: float, height: float) -> Motion:
    """To where the tool shall be after a share [n] of the arc, `gap` m from the plate."""
    contact, arc = memory.note("contact", 3), memory.note("twist", 3)
    out = _rotated(contact[:, 2], np.array((FINGER + gap, 0.0)))
    grip = contact + np.column_stack((out, np.zeros(len(out))))
    moved = _moved(arc, np.broadcast_to(share, len(arc)))
    pose = _after(memory.note("plate", 3), _after(moved, grip))
    way = np.column_stack((pose[:, :2], np.full(len(pose), height))) - scene.tool_pos
    turn = wrap(pose[:, 2] - scene.tool_yaw, np.pi / 2)  # any side of the fingers will do
    return Motion(way, about_vertical(turn), np.full(len(pose), CLOSED))


def _over(scene: Scene, memory: Memory) -> Motion:
    _choose(scene, memory)
    return _go(scene, memory, share=0.0, gap=ROOM, height=HIGH)


def _down(scene: Scene, memory: Memory) -> Motion:
    return _go(scene, memory, share=0.0, gap=ROOM, height=LOW)


def _push(scene: Scene, memory: Memory) -> Motion:
    way = SPEED * (memory.clock + LEAD) - ROOM
    return _go(scene, memory, share=np.clip(way / _travel(memory), 0.0, 1.0), gap=0.0, height=LOW)


def _back(scene: Scene, memory: Memory) -> Motion:
    return _go(scene, memory, share=1.0, gap=2 * ROOM, height=HIGH)


def _travel(memory: Memory) -> Array:
    return np.maximum(np.linalg.norm(memory.note("twist", 3)[:, :2], axis=1), ADVANCE[0])


def _pushed(scene: Scene, memory: Memory, motion: Motion) -> Mask:
    over = SPEED * memory.clock - ROOM > _travel(memory)
    return over & arrived(0.004)(scene, memory, motion)


def _misfit(scene: Scene, memory: Memory) -> Mask:
    """After a stroke: another one is needed."""
    x, y, turn = _error(scene).T
    return (memory.phase == 4) & ((np.hypot(x, y) > SURE * EXACT) | (np.abs(turn) > SURE * ANGLE))


push = sequence(
    Step(_over, arrived(0.02)),
    Step(_down, arrived(0.004, angle=0.03), patience=15),
    Step(_push, _pushed, patience=60),
    Step(_back, arrived(0.03)),
    Step(_back, waited(20)),
    lost=_misfit,
)
