"""Pick and place: put the cube into the bin."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import quat_about_z
from robolearn.sim.objects import BOX, add_free_object
from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.bins import RIM, WALL, add_bin, in_bin_frame, over_bin
from robolearn.sim.tasks.grasping import bottom, grasp_stage, held, leaving, left, reach_stage
from robolearn.sim.tasks.placement import scatter
from robolearn.sim.tasks.task import Area, Start, Task

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

HALF = 0.02  # half the edge of the cube, m
APART = 0.13  # least distance between cube and bin at the start, m: fingers fit between them
TURN, BIN_TURN = 0.7, 0.4  # largest turns about the vertical at the start, rad
CLEAR = 0.005  # m over the rim at which the cube is carried
SUNK = 0.012  # m over the bin's floor; a cube that leans on a wall does not lie flat


def build(spec: mujoco.MjSpec, area: Area) -> None:
    """Add the cube and the bin."""
    add_free_object(spec, "cube", BOX, (HALF, HALF, HALF), density=400.0, rgba=(0.85, 0.25, 0.2, 1))
    add_bin(spec, "bin", rgba=(0.3, 0.4, 0.6, 1))


def place(rng: np.random.Generator, area: Area) -> Start:
    """Draw the poses of cube and bin."""
    cube, bin_ = scatter(rng, area, 2, distance=APART)
    return Start(
        {
            "cube": (np.array((*cube, HALF)), quat_about_z(rng.uniform(-TURN, TURN))),
            "bin": (np.array((*bin_, 0.0)), quat_about_z(rng.uniform(-BIN_TURN, BIN_TURN))),
        }
    )


def _inside(state: WorldState) -> Array:
    return in_bin_frame(state, state.pos("cube"), "bin")


def lifted(state: WorldState) -> Mask:
    """The held cube is higher than the rim."""
    return held(state, "cube") & (bottom(state, "cube") > RIM + CLEAR)


def carried(state: WorldState) -> Mask:
    """The held cube is over the opening of the bin."""
    return held(state, "cube") & over_bin(_inside(state)) & (bottom(state, "cube") > 0.0)


def placed(state: WorldState) -> Mask:
    """The cube is at the bottom of the bin."""
    return over_bin(_inside(state)) & (bottom(state, "cube") < WALL + SUNK)


def released(state: WorldState) -> Mask:
    """It still is when the gripper has left it."""
    return placed(state) & left(state, "cube")


def _beside(state: WorldState) -> Array:
    """Distance [n] in m from the cube to the middle of the bin seen from above."""
    return np.linalg.norm(_inside(state)[:, :2], axis=1)


PICK_PLACE = Task(
    name="pick_place",
    instructions=(
        (
            "put the cube into the bin",
            "pick up the cube and drop it in the box",
            "move the block from the table into the container",
        ),
    ),
    bodies=("cube", "bin"),
    movable=("cube",),
    stages=(
        reach_stage("cube", "the cube"),
        grasp_stage("cube", "the cube"),
        Stage("lift", "raise the cube above the rim of the bin", lifted, lambda s: bottom(s, "cube") / (RIM + CLEAR)),
        Stage("carry", "carry the cube over the bin", carried, lambda s: 1 - np.tanh(5 * _beside(s))),
        Stage("place", "drop the cube into the bin", placed, lambda s: 1 - bottom(s, "cube") / (2 * RIM)),
        Stage("release", "withdraw the open gripper", released, lambda s: leaving(s, "cube")),
    ),
    build=build,
    place=place,
    space=(0.1, 0.18, 0.2),
    max_episode_steps=100,
    recolour=("cube", "bin"),
)
