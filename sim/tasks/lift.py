"""Lift: pick a cube off the table."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import quat_about_z
from robolearn.sim.objects import add_free_object
from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.task import Task

HALF = 0.02  # half the edge of the cube, m
HELD = 0.03  # m between its centre and the point between the fingertips while these still hold it
HEIGHT = 0.10  # m that the cube must rise for success
AREA = ((0.42, -0.18), (0.66, 0.18))  # where its centre starts (x, y low, high), m
TURN = 0.7  # largest turn about the vertical at the start, rad (a cube repeats every pi/2)


def build(spec: mujoco.MjSpec) -> None:
    """Add the cube."""
    add_free_object(
        spec, "cube", mujoco.mjtGeom.mjGEOM_BOX, (HALF, HALF, HALF), density=400.0, rgba=(0.85, 0.25, 0.2, 1)
    )


def place(rng: np.random.Generator) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Draw the start pose of each object: position [3] in m, quaternion [4]."""
    xy = rng.uniform(*AREA)
    return {"cube": (np.array((*xy, HALF)), quat_about_z(rng.uniform(-TURN, TURN)))}


def _distance(state: WorldState) -> NDArray[np.float64]:
    return np.linalg.norm(state.objects["cube"][0] - state.tool_pos, axis=-1)


def _rise(state: WorldState) -> NDArray[np.float64]:
    return state.objects["cube"][0][:, 2] - HALF


def reached(state: WorldState) -> NDArray[np.bool_]:
    """The cube is between the fingertips."""
    return _distance(state) < 0.015


def grasped(state: WorldState) -> NDArray[np.bool_]:
    """The fingers have closed on the cube, wherever they hold it; a turned cube is up to a diagonal wide."""
    return (_distance(state) < HELD) & (state.width < 2 * HALF + 0.012) & (state.width > 2 * HALF - 0.006)


def lifted(state: WorldState) -> NDArray[np.bool_]:
    """The grasped cube is high enough."""
    return grasped(state) & (_rise(state) > HEIGHT)


LIFT = Task(
    name="lift",
    instructions=("lift the cube", "pick up the red cube", "grasp the block and raise it off the table"),
    objects=("cube",),
    stages=(
        Stage("reach", "move the gripper to the cube", reached, lambda s: 1 - np.tanh(5 * _distance(s))),
        Stage("grasp", "close the gripper on the cube", grasped, lambda s: 1 - (s.width - 2 * HALF) / (2 * HALF)),
        Stage("lift", "raise the cube", lifted, lambda s: _rise(s) / HEIGHT),
    ),
    build=build,
    place=place,
)
