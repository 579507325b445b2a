"""Lift: pick a cube off the table."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import quat_about_z
from robolearn.sim.objects import BOX, add_free_object
from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.task import Area, Start, Task

HALF = 0.02  # half the edge of the cube, m
HELD = 0.03  # m between its centre and the point between the fingertips while these still hold it
HEIGHT = 0.10  # m that the cube must rise for success
TURN = 0.7  # largest turn about the vertical at the start, rad (a cube repeats every pi/2)


def build(spec: mujoco.MjSpec, area: Area) -> None:
    """Add the cube."""
    add_free_object(spec, "cube", BOX, (HALF, HALF, HALF), density=400.0, rgba=(0.85, 0.25, 0.2, 1))


def place(rng: np.random.Generator, area: Area) -> Start:
    """Draw the pose of the cube."""
    xy = area.draw(rng)
    return Start({"cube": (np.array((*xy, HALF)), quat_about_z(rng.uniform(-TURN, TURN)))})


def _distance(state: WorldState) -> NDArray[np.float64]:
    return state.tool_distance("cube")


def _rise(state: WorldState) -> NDArray[np.float64]:
    return state.pos("cube")[:, 2] - state.size("cube")[:, 2]


def reached(state: WorldState) -> NDArray[np.bool_]:
    """The cube is between the fingertips."""
    return _distance(state) < 0.015


def grasped(state: WorldState) -> NDArray[np.bool_]:
    """The fingers have closed on the cube, wherever they hold it; a turned cube is up to a diagonal wide."""
    edge = 2 * state.size("cube")[:, 0]
    return (_distance(state) < HELD) & (state.width < edge + 0.012) & (state.width > edge - 0.006)


def lifted(state: WorldState) -> NDArray[np.bool_]:
    """The grasped cube is high enough."""
    return grasped(state) & (_rise(state) > HEIGHT)


LIFT = Task(
    name="lift",
    instructions=(("lift the cube", "pick up the cube", "grasp the block and raise it off the table"),),
    bodies=("cube",),
    movable=("cube",),
    stages=(
        Stage("reach", "move the gripper to the cube", reached, lambda s: 1 - np.tanh(5 * _distance(s))),
        Stage("grasp", "close the gripper on the cube", grasped, lambda s: 1 - (s.width - 2 * HALF) / (2 * HALF)),
        Stage("lift", "raise the cube", lifted, lambda s: _rise(s) / HEIGHT),
    ),
    build=build,
    place=place,
    space=(0.1, 0.15, 0.2),
    recolour=("cube",),
)
