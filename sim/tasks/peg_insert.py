"""Peg insert: put a standing square peg into a hole that is hardly wider."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import matrix_from_quat, quat_about_z
from robolearn.sim.objects import BOX, add_fixture, add_free_object, add_solid
from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.grasping import SLACK
from robolearn.sim.tasks.placement import scatter
from robolearn.sim.tasks.task import Area, Start, Task

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

PEG = (0.012, 0.012, 0.04)  # half sizes, m
CLEARANCE = 0.0015  # how much wider than the peg the hole is, m
BLOCK, HEIGHT = 0.035, 0.04  # half the edge of the block and its height, m; the hole goes right through
GRIP = 0.02  # m above the peg's centre where one grasps it
APART = 0.10  # m between peg and block at least
TURN = 0.5  # largest turn of peg and block about the vertical at the start, rad
DEEP = 0.006  # m above the table: a lower end below it is at the bottom of the hole
UPRIGHT = 0.98  # cosine of the largest tilt of a peg that is about to go in


def build(spec: mujoco.MjSpec, area: Area) -> None:
    """Add the peg, and the block as four walls around the hole."""
    add_free_object(spec, "peg", BOX, PEG, density=600.0, rgba=(0.2, 0.45, 0.8, 1))
    block = add_fixture(spec, "block")
    hole = PEG[0] + CLEARANCE / 2
    wall, middle = (BLOCK - hole) / 2, (BLOCK + hole) / 2
    for sign in (-1, 1):
        for size, pos in (
            ((BLOCK, wall, HEIGHT / 2), (0, sign * middle, HEIGHT / 2)),
            ((wall, hole, HEIGHT / 2), (sign * middle, 0, HEIGHT / 2)),
        ):
            add_solid(block, BOX, size, pos=pos, rgba=(0.5, 0.52, 0.55, 1))


def place(rng: np.random.Generator, area: Area) -> Start:
    """Draw where peg and block stand."""
    peg, block = scatter(rng, area, 2, distance=APART)
    turn = quat_about_z(rng.uniform(-TURN, TURN, size=2))
    return Start(
        {
            "peg": (np.array((*peg, PEG[2])), turn[0]),
            "block": (np.array((*block, 0.0)), turn[1]),
        }
    )


def grip_point(peg: Array, rotation: Array) -> Array:
    """Where to grasp [n, 3], from the peg's position [n, 3] and rotation [n, 3, 3]."""
    return peg + GRIP * rotation[:, :, 2]


def lower_end(peg: Array, rotation: Array, half: Array | float) -> Array:
    """Middle of the peg's lower face [n, 3], from its pose and half its length in m."""
    return peg - np.asarray(half)[..., None] * rotation[:, :, 2]


def _to_grip(state: WorldState) -> Array:
    point = grip_point(state.pos("peg"), matrix_from_quat(state.quat("peg")))
    return np.linalg.norm(point - state.tool_pos, axis=1)


def _end(state: WorldState) -> Array:
    """The peg's lower end [n, 3] seen from the hole's on the table."""
    rotation = matrix_from_quat(state.quat("peg"))
    return lower_end(state.pos("peg"), rotation, state.size("peg")[:, 2]) - state.pos("block")


def _beside(state: WorldState) -> Array:
    return np.linalg.norm(_end(state)[:, :2], axis=1)


def _upright(state: WorldState) -> Mask:
    return matrix_from_quat(state.quat("peg"))[:, 2, 2] > UPRIGHT


def _edge(state: WorldState) -> Array:
    return 2 * state.size("peg")[:, 0]


def reached(state: WorldState) -> Mask:
    """The upper part of the peg is between the fingertips."""
    return _to_grip(state) < 0.012


def grasped(state: WorldState) -> Mask:
    """The fingers have closed on the peg, wherever they hold it."""
    edge = _edge(state)
    return (_to_grip(state) < 0.025) & (state.width < edge + SLACK) & (state.width > edge - 0.006)


def aligned(state: WorldState) -> Mask:
    """The grasped peg stands upright over the hole or in it."""
    return grasped(state) & _upright(state) & (_beside(state) < 0.005)


def inserted(state: WorldState) -> Mask:
    """The peg stands at the bottom of the hole, and the fingers have let go."""
    in_hole = (_beside(state) < 0.003) & (_end(state)[:, 2] < DEEP)
    return in_hole & _upright(state) & (state.width > _edge(state) + SLACK)


def _insert_progress(state: WorldState) -> Array:
    height = np.clip(_end(state)[:, 2], 0, 0.1)
    let_go = np.clip((state.width - _edge(state)) / SLACK, 0, 1)
    return 0.8 * (1 - height / 0.1) + 0.2 * let_go * (height < DEEP)


PEG_INSERT = Task(
    name="peg_insert",
    instructions=(
        (
            "put the peg into the hole",
            "insert the peg into the block",
            "pick up the square peg and plug it into the hole",
        ),
    ),
    bodies=("peg", "block"),
    movable=("peg",),
    stages=(
        Stage("reach", "move the gripper to the peg", reached, lambda s: 1 - np.tanh(5 * _to_grip(s))),
        Stage("grasp", "close the gripper on the peg", grasped, lambda s: 1 - (s.width - _edge(s)) / 0.056),
        Stage("align", "carry the peg over the hole", aligned, lambda s: 1 - np.tanh(5 * _beside(s))),
        Stage("insert", "push the peg in and let go", inserted, _insert_progress),
    ),
    build=build,
    place=place,
    space=(0.1, 0.16, 0.15),
    max_episode_steps=160,
    recolour=("peg", "block"),
    resizable=(),  # the peg fits this hole
)
