"""Stack: put the red cube on the green one and let go."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import quat_about_z
from robolearn.sim.objects import BOX, add_free_object
from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.grasping import bottom, grasp_stage, held, leaving, left, level, reach_stage
from robolearn.sim.tasks.placement import scatter
from robolearn.sim.tasks.task import Area, Start, Task

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

HALF_A, HALF_B = 0.02, 0.025  # half the edges of the cube on top and of the one below, m
APART = 0.09  # least distance between the two at the start, m: fingers fit between them
TURN = 0.7  # largest turn about the vertical at the start, rad
CLEAR = 0.01  # m that the one is lifted higher than the other's top
TOUCHING = 0.004  # m between their faces that still counts as standing on it


def build(spec: mujoco.MjSpec, area: Area) -> None:
    """Add the cubes."""
    add_free_object(spec, "cube_a", BOX, (HALF_A,) * 3, density=400.0, rgba=(0.85, 0.25, 0.2, 1))
    add_free_object(spec, "cube_b", BOX, (HALF_B,) * 3, density=400.0, rgba=(0.2, 0.65, 0.3, 1))


def place(rng: np.random.Generator, area: Area) -> Start:
    """Draw the poses of the cubes."""
    a, b = scatter(rng, area, 2, distance=APART)
    turns = rng.uniform(-TURN, TURN, 2)
    return Start(
        {
            "cube_a": (np.array((*a, HALF_A)), quat_about_z(turns[0])),
            "cube_b": (np.array((*b, HALF_B)), quat_about_z(turns[1])),
        }
    )


def _gap(state: WorldState) -> Array:
    """Height [n] in m of the one cube's underside over the other's top."""
    return bottom(state, "cube_a") - (state.pos("cube_b")[:, 2] + state.size("cube_b")[:, 2])


def _offset(state: WorldState) -> Array:
    """Distance [n] in m between the cubes seen from above."""
    return np.linalg.norm((state.pos("cube_a") - state.pos("cube_b"))[:, :2], axis=1)


def _over(state: WorldState) -> Mask:
    """The one's centre is over the other, however that is turned: it can stand there."""
    return _offset(state) < state.size("cube_b")[:, 0]


def lifted(state: WorldState) -> Mask:
    """The held cube is higher than the other."""
    return held(state, "cube_a") & (_gap(state) > CLEAR)


def aligned(state: WorldState) -> Mask:
    """The held cube is over the other."""
    return held(state, "cube_a") & (_gap(state) > -TOUCHING) & _over(state)


def stacked(state: WorldState) -> Mask:
    """The cube stands on the other."""
    return _over(state) & (np.abs(_gap(state)) < TOUCHING) & level(state, "cube_a")


def released(state: WorldState) -> Mask:
    """It still does when the gripper has left it."""
    return stacked(state) & left(state, "cube_a")


def _rise(state: WorldState) -> Array:
    """Share [n] of the way up from the table to above the other cube."""
    return bottom(state, "cube_a") / (2 * state.size("cube_b")[:, 2] + CLEAR)


STACK = Task(
    name="stack",
    instructions=(
        (
            "stack the red cube on the green cube",
            "put the red block on top of the green block",
            "pick up the red cube, set it down on the green one and let go",
        ),
    ),
    bodies=("cube_a", "cube_b"),
    movable=("cube_a", "cube_b"),
    stages=(
        reach_stage("cube_a", "the red cube"),
        grasp_stage("cube_a", "the red cube"),
        Stage("lift", "raise the red cube above the green one", lifted, _rise),
        Stage("align", "carry it over the green cube", aligned, lambda s: 1 - np.tanh(5 * _offset(s))),
        Stage("stack", "lower it onto the green cube", stacked, lambda s: 1 - _gap(s) / 0.1),
        Stage("release", "open the gripper and withdraw", released, lambda s: leaving(s, "cube_a")),
    ),
    build=build,
    place=place,
    space=(0.1, 0.18, 0.2),
    max_episode_steps=100,
)
