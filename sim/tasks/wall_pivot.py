"""Wall pivot: a flat box, too wide to be grasped from above, is tilted up against a low wall, grasped and lifted."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import matrix_from_quat, quat_about_z
from robolearn.sim.objects import BOX, add_fixture, add_free_object, add_solid
from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.task import Area, Start, Task

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

HALF = (0.055, 0.06, 0.015)  # of the box, m: 11 x 12 cm, more than any of our grippers opens
WALL = (0.015, 0.12, 0.035)  # half sizes of the wall, m: it ends below the fingers that hold the standing box
SMOOTH = 0.4  # friction of the box on table and wall: it slides along both while it tilts; the finger pads are rubber
GAP = (0.015, 0.04)  # m between box and wall at the start
TURN = 0.15  # largest turns of the wall, and of the box against the wall, at the start, rad
NEAR = 0.03  # m between tool and box that count as reached
TOUCHING = 0.006  # m between box and wall that count as touching
UPRIGHT = np.radians(80)  # tilt at which the box stands
HEIGHT = 0.08  # m that the box must rise for success: clear of the wall


def build(spec: mujoco.MjSpec, area: Area) -> None:
    """Add wall and box."""
    add_solid(add_fixture(spec, "wall"), BOX, WALL, name="wall", rgba=(0.45, 0.48, 0.52, 1))
    add_free_object(spec, "box", BOX, HALF, density=400.0, rgba=(0.85, 0.6, 0.2, 1))
    box = spec.geom("box")
    # MuJoCo's default contact gives way by millimetres when so light a box is pressed against a wall
    box.priority, box.solref, box.solimp = 1, (0.01, 1.0), (0.98, 0.998, 0.001, 0.5, 2.0)
    box.friction[0] = SMOOTH


def place(rng: np.random.Generator, area: Area) -> Start:
    """Draw where the wall stands, at the far end of the area, and where the box lies before it."""
    face = np.array((area.high[0] - rng.uniform(0.0, 0.02), area.centre[1] + rng.uniform(-0.03, 0.03)))
    wall, box = rng.uniform(-TURN, TURN, 2)
    into, along = np.array((np.cos(wall), np.sin(wall))), np.array((-np.sin(wall), np.cos(wall)))
    reach = HALF[0] * np.cos(box) + HALF[1] * abs(np.sin(box))
    centre = face - (rng.uniform(*GAP) + reach) * into + rng.uniform(-0.03, 0.03) * along
    return Start(
        {
            "box": (np.array((*centre, HALF[2])), quat_about_z(wall + box)),
            "wall": (np.array((*(face + WALL[0] * into), WALL[2])), quat_about_z(wall)),
        }
    )


def _axes(state: WorldState) -> Array:
    return matrix_from_quat(state.quat("box"))


def _reach(state: WorldState, direction: Array) -> Array:
    """Half the extent [n] of the box along directions [n, 3], m."""
    return (np.abs(np.einsum("nj,nji->ni", direction, _axes(state))) * state.size("box")).sum(axis=1)


def gap(state: WorldState) -> Array:
    """Distance [n] in m between the box and the plane of the wall's face."""
    into = matrix_from_quat(state.quat("wall"))[:, :, 0]
    way = np.einsum("ni,ni->n", state.pos("wall") - state.pos("box"), into)
    return way - state.size("wall")[:, 0] - _reach(state, into)


def tilt(state: WorldState) -> Array:
    """Angle [n] in rad between the flat side of the box and the table, 0 to pi/2."""
    return np.arccos(np.clip(np.abs(_axes(state)[:, 2, 2]), 0.0, 1.0))


def _rise(state: WorldState) -> Array:
    """Height [n] of the lowest point of the box over the table, m."""
    return state.pos("box")[:, 2] - _reach(state, np.broadcast_to((0.0, 0.0, 1.0), state.pos("box").shape))


def _tool_in_box(state: WorldState) -> Array:
    """Tool point [n, 3] in the frame of the box, m."""
    return np.einsum("nji,nj->ni", _axes(state), state.tool_pos - state.pos("box"))


def _distance(state: WorldState) -> Array:
    """Distance [n] from the tool point to the box, 0 inside, m."""
    outside = np.maximum(np.abs(_tool_in_box(state)) - state.size("box"), 0.0)
    return np.linalg.norm(outside, axis=1)


def _across(state: WorldState) -> Array:
    """Cosine [n] between the fingers' direction of opening and the thin side of the box."""
    opening = matrix_from_quat(state.tool_quat)[:, :, 1]
    return np.abs(np.einsum("ni,ni->n", opening, _axes(state)[:, :, 2]))


def reached(state: WorldState) -> Mask:
    """The tool is at the box."""
    return _distance(state) < NEAR


def pushed(state: WorldState) -> Mask:
    """The box touches the wall."""
    return np.abs(gap(state)) < TOUCHING


def pivoted(state: WorldState) -> Mask:
    """The box stands on its side."""
    return tilt(state) > UPRIGHT


def grasped(state: WorldState) -> Mask:
    """The fingers have closed across the thin side of the box."""
    thick = 2 * state.size("box")[:, 2]
    return (_distance(state) < 0.003) & (_across(state) > 0.9) & (np.abs(state.width - thick) < 0.006)


def lifted(state: WorldState) -> Mask:
    """The grasped box is high enough."""
    return grasped(state) & (_rise(state) > HEIGHT)


def _grasping(state: WorldState) -> Array:
    """Progress [n]: from beside the standing box over it to closed fingers."""
    closing = np.clip(1 - (state.width - 2 * state.size("box")[:, 2]) / 0.05, 0.0, 1.0)
    near = 1 - np.tanh(10 * _distance(state))
    return near * (0.4 + 0.4 * _across(state) + 0.2 * closing * (_distance(state) < 0.003))


WALL_PIVOT = Task(
    name="wall_pivot",
    instructions=(
        (
            "pick up the flat box with the help of the wall",
            "tilt the box up against the wall, then grasp and lift it",
            "stand the flat box up at the wall and pick it up",
        ),
    ),
    bodies=("box", "wall"),
    movable=("box",),
    stages=(
        Stage("reach", "move the gripper to the box", reached, lambda s: 1 - np.tanh(5 * _distance(s))),
        Stage("push", "push the box against the wall", pushed, lambda s: 1 - np.tanh(20 * np.abs(gap(s)))),
        Stage("pivot", "tilt the box up against the wall", pivoted, lambda s: tilt(s) / UPRIGHT),
        Stage("grasp", "close the gripper on the standing box", grasped, _grasping),
        Stage("lift", "raise the box", lifted, lambda s: _rise(s) / HEIGHT),
    ),
    build=build,
    place=place,
    space=(0.2, 0.2, 0.3),
    max_episode_steps=180,
    recolour=("box",),
)
