"""Push: slide a flat plate to the pose drawn on the table."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import matrix_from_quat, quat_about_z
from robolearn.sim.objects import BOX, add_fixture, add_free_object, add_mark
from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.placement import scatter
from robolearn.sim.tasks.task import Area, Start, Task

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

HALF = (0.06, 0.045, 0.01)  # of the plate, m: no gripper opens as wide, so that it cannot be picked up
FRICTION = (0.4, 0.005, 0.0001)  # smooth, whatever touches it: else a finger that sinks a little jams it on the table
MARK = 0.0005  # half the thickness of the goal drawn on the table, m
MARGIN = 0.05  # m from the border of the area to the plate's middle: the tool gets at every side
APART = 0.07  # least distance between plate and goal at the start, m
TURN = 0.5  # largest turns of plate and goal, rad; the plate looks the same every half turn
TOUCHING = 0.025  # m between tool and plate that count as reached
NEAR = 0.03  # m from the goal where fitting begins
EXACT, ANGLE = 0.012, 0.12  # m and rad within which the plate fits the goal
AWAY = 0.03  # m between plate and tool that has left it


def build(spec: mujoco.MjSpec, area: Area) -> None:
    """Add the plate and the goal, which touches nothing."""
    plate = add_free_object(spec, "plate", BOX, HALF, density=1000.0, rgba=(0.2, 0.45, 0.75, 1)).first_geom()
    plate.friction, plate.priority = FRICTION, 2
    add_mark(add_fixture(spec, "goal"), BOX, (*HALF[:2], MARK), name="goal", rgba=(0.35, 0.75, 0.45, 1))


def place(rng: np.random.Generator, area: Area) -> Start:
    """Draw the poses of plate and goal."""
    low, high = np.array(area.low) + MARGIN, np.array(area.high) - MARGIN
    plate, goal = scatter(rng, Area(tuple(low), tuple(high)), 2, distance=APART)
    turns = quat_about_z(rng.uniform(-TURN, TURN, 2))
    return Start({"plate": (np.array((*plate, HALF[2])), turns[0]), "goal": (np.array((*goal, MARK)), turns[1])})


def _gap(state: WorldState) -> Array:
    """Distance [n] in m from the tool point to the plate."""
    rot = matrix_from_quat(state.quat("plate"))
    inside = np.einsum("nji,nj->ni", rot, state.tool_pos - state.pos("plate"))
    return np.linalg.norm(np.maximum(np.abs(inside) - state.size("plate"), 0.0), axis=1)


def _distance(state: WorldState) -> Array:
    """Distance [n] in m from the plate's middle to the goal's, seen from above."""
    return np.linalg.norm((state.pos("plate") - state.pos("goal"))[:, :2], axis=1)


def _turn(state: WorldState) -> Array:
    """Angle [n] in rad between their long sides."""
    plate, goal = (matrix_from_quat(state.quat(name))[:, :, 0] for name in ("plate", "goal"))
    return np.arccos(np.clip(np.abs(np.einsum("ni,ni->n", plate, goal)), 0.0, 1.0))


def _flat(state: WorldState) -> Mask:
    return state.pos("plate")[:, 2] < state.size("plate")[:, 2] + 0.005


def reached(state: WorldState) -> Mask:
    """The tool is at the plate."""
    return _gap(state) < TOUCHING


def pushed(state: WorldState) -> Mask:
    """The plate is close to the goal."""
    return (_distance(state) < NEAR) & _flat(state)


def fitted(state: WorldState) -> Mask:
    """The plate lies on the goal, turned as it is."""
    return (_distance(state) < EXACT) & (_turn(state) < ANGLE) & _flat(state)


def left(state: WorldState) -> Mask:
    """It stays there without the tool."""
    return fitted(state) & (_gap(state) > AWAY)


def _fit(state: WorldState) -> Array:
    way = np.clip((_distance(state) - EXACT) / (NEAR - EXACT), 0.0, 1.0)
    return 1 - (way + np.clip(_turn(state) / TURN, 0.0, 1.0)) / 2


PUSH = Task(
    name="push",
    instructions=(
        (
            "push the plate onto the mark",
            "slide the flat block to the place drawn on the table",
            "move the plate to the marked pose without picking it up",
        ),
    ),
    bodies=("plate", "goal"),
    movable=("plate",),
    stages=(
        Stage("reach", "move the gripper to the plate", reached, lambda s: 1 - np.tanh(5 * _gap(s))),
        Stage("push", "push the plate towards the mark", pushed, lambda s: 1 - np.tanh(5 * (_distance(s) - NEAR))),
        Stage("fit", "push it onto the mark and turn it to fit", fitted, _fit),
        Stage("leave", "withdraw from the plate", left, lambda s: _gap(s) / AWAY),
    ),
    build=build,
    place=place,
    space=(0.2, 0.25, 0.15),
    max_episode_steps=200,
    recolour=("plate", "goal"),
)
