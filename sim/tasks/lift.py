"""Lift: pick a cube off the table."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import quat_about_z
from robolearn.sim.objects import BOX, add_free_object
from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.grasping import bottom, grasp_stage, held, reach_stage
from robolearn.sim.tasks.task import Area, Start, Task

HALF = 0.02  # half the edge of the cube, m
HEIGHT = 0.10  # m that the cube must rise for success
TURN = 0.7  # largest turn about the vertical at the start, rad (a cube repeats every pi/2)


def build(spec: mujoco.MjSpec, area: Area) -> None:
    """Add the cube."""
    add_free_object(spec, "cube", BOX, (HALF, HALF, HALF), density=400.0, rgba=(0.85, 0.25, 0.2, 1))


def place(rng: np.random.Generator, area: Area) -> Start:
    """Draw the pose of the cube."""
    xy = area.draw(rng)
    return Start({"cube": (np.array((*xy, HALF)), quat_about_z(rng.uniform(-TURN, TURN)))})


def _rise(state: WorldState) -> NDArray[np.float64]:
    return bottom(state, "cube")


def lifted(state: WorldState) -> NDArray[np.bool_]:
    """The grasped cube is high enough."""
    return held(state, "cube") & (_rise(state) > HEIGHT)


LIFT = Task(
    name="lift",
    instructions=(("lift the cube", "pick up the cube", "grasp the block and raise it off the table"),),
    bodies=("cube",),
    movable=("cube",),
    stages=(
        reach_stage("cube", "the cube"),
        grasp_stage("cube", "the cube"),
        Stage("lift", "raise the cube", lifted, lambda s: _rise(s) / HEIGHT),
    ),
    build=build,
    place=place,
    space=(0.1, 0.15, 0.2),
    recolour=("cube",),
)
