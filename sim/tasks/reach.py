"""Reach: bring the tool to a point in the air and stop there."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import quat_about_z
from robolearn.sim.objects import add_fixture, add_mark
from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.task import Area, Start, Task

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

RADIUS = 0.015  # of the goal, m
NEAR = 0.05  # m from the goal where the approach ends
LOW, HIGH = 0.02, 0.5  # height of the goal over the table: m, and share of the area's extent; the arm starts above
STILL = 0.25  # rad/s: no joint of an arm that has stopped is faster


def build(spec: mujoco.MjSpec, area: Area) -> None:
    """Add the goal, which touches nothing."""
    sphere = mujoco.mjtGeom.mjGEOM_SPHERE
    add_mark(add_fixture(spec, "goal"), sphere, (RADIUS, 0, 0), name="goal", rgba=(0.9, 0.6, 0.1, 1))


def place(rng: np.random.Generator, area: Area) -> Start:
    """Draw the goal."""
    height = rng.uniform(LOW, HIGH * area.size.min())
    return Start({"goal": (np.array((*area.draw(rng), height)), quat_about_z(0.0))})


def _distance(state: WorldState) -> Array:
    return state.tool_distance("goal")


def near(state: WorldState) -> Mask:
    """The tool is close to the goal."""
    return _distance(state) < NEAR


def touched(state: WorldState) -> Mask:
    """The tool has stopped in the goal: flying through it does not count."""
    still = np.abs(state.joint_velocities).max(axis=1) < STILL
    return (_distance(state) < state.size("goal")[:, 0]) & still


REACH = Task(
    name="reach",
    instructions=(("touch the ball", "move the gripper to the ball", "go to the goal in the air and stop there"),),
    bodies=("goal",),
    movable=(),
    stages=(
        Stage("approach", "move the gripper towards the goal", near, lambda s: 1 - np.tanh(5 * (_distance(s) - NEAR))),
        Stage("touch", "stop in the goal", touched, lambda s: 1 - _distance(s) / NEAR),
    ),
    build=build,
    place=place,
    space=(0.1, 0.15, 0.15),
    max_episode_steps=50,
    recolour=("goal",),
)
