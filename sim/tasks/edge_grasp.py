"""Edge grasp: push a flat box, too wide to be grasped from above, over the edge of a shelf, pinch and lift it there."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import quat_about_z
from robolearn.sim.objects import BOX, add_fixture, add_free_object, add_solid
from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.task import Area, Start, Task

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

HALF = (0.06, 0.06, 0.0125)  # of the box, m: 12 cm wide, more than any of our grippers opens
SHELF = (0.12, 0.14, 0.06)  # half sizes of the shelf, m; its near edge runs along x and faces -y
TOP = 2 * SHELF[2]
EDGE = -0.02  # where the edge is, from the middle of the area, m
SHIFT = 0.02  # by which it varies, m
INSIDE = (0.08, 0.11)  # how far from the edge the middle of the box starts, m
TURN = 0.3  # largest turn of the box at the start, rad
OVERHANG = 0.03  # m over the edge that fingers can take hold of
NEAR = 0.04  # m between tool and box that count as reached
FACING = 0.6  # cosine between the tool's direction and +y
ACROSS = 0.5  # how squarely the fingers stand to the box that counts as aligned
SQUARE = 0.7  # and as grasped
AHEAD = 0.07  # m between the tool and the middle of the overhanging rim that count as aligned
RIM = np.array((0.003, 0.003, 0.0))  # m by which a held box may lie outside the tool point
HEIGHT = 0.06  # m that the box must rise for success


def build(spec: mujoco.MjSpec, area: Area) -> None:
    """Add shelf and box."""
    add_solid(add_fixture(spec, "shelf"), BOX, SHELF, name="shelf", rgba=(0.45, 0.48, 0.52, 1))
    add_free_object(spec, "box", BOX, HALF, density=400.0, rgba=(0.2, 0.45, 0.75, 1))


def place(rng: np.random.Generator, area: Area) -> Start:
    """Draw where the shelf's edge is and where on it the box lies."""
    x, y = area.centre
    edge = y + EDGE + rng.uniform(-SHIFT, SHIFT)
    box = (x + rng.uniform(-0.04, 0.04), edge + rng.uniform(*INSIDE), TOP + HALF[2])
    upright = quat_about_z(0.0)
    return Start(
        {
            "shelf": (np.array((x, edge + SHELF[1], SHELF[2])), upright),
            "box": (np.array(box), quat_about_z(rng.uniform(-TURN, TURN))),
        }
    )


def tool(area: Area) -> tuple[Array, Array]:
    """In front of the shelf, gripper half turned towards it, fingers opening in the plane of its turn."""
    x, y = area.centre
    c = np.sqrt(0.5)
    return np.array((x, y + EDGE - 0.05, TOP + 0.08)), np.array(((1.0, 0.0, 0.0), (0.0, -c, c), (0.0, -c, -c)))


def _edge(state: WorldState) -> Array:
    return state.pos("shelf")[:, 1] - state.size("shelf")[:, 1]


def overhang(state: WorldState) -> Array:
    """How far [n] in m the box, as it is turned and tilted, reaches over the edge."""
    half = np.einsum("nj,nj->n", np.abs(state.rot("box")[:, 1]), state.size("box"))
    return _edge(state) - (state.pos("box")[:, 1] - half)


def _flat(state: WorldState) -> Mask:
    return np.abs(state.rot("box")[:, 2, 2]) > 0.9


def _rise(state: WorldState) -> Array:
    return state.pos("box")[:, 2] - (state.pos("shelf")[:, 2] + state.size("shelf")[:, 2] + state.size("box")[:, 2])


def _tool_in_box(state: WorldState) -> Array:
    """Tool point [n, 3] in the frame of the box, m."""
    return np.einsum("nji,nj->ni", state.rot("box"), state.tool_pos - state.pos("box"))


def _gap(state: WorldState) -> Array:
    """Distance [n] in m from the tool point to the box."""
    return np.linalg.norm(np.maximum(np.abs(_tool_in_box(state)) - state.size("box"), 0.0), axis=1)


def _facing(state: WorldState) -> Array:
    """Cosine [n] between the direction in which the gripper points and +y, into the shelf."""
    return state.tool_rot[:, 1, 2]


def _across(state: WorldState) -> Array:
    """How squarely [n] the fingers would close on the large faces of the box: 1, falling to 0 at a quarter turn."""
    cosine = np.abs(np.einsum("ni,ni->n", state.tool_rot[:, :, 1], state.rot("box")[:, :, 2]))
    return 1 - np.arccos(np.minimum(cosine, 1.0)) / (np.pi / 2)


def _ahead(state: WorldState) -> Array:
    """Distance [n] in m from the tool point to the middle of the rim that reaches over the edge."""
    rim = state.pos("box").copy()
    rim[:, 1] = _edge(state) - overhang(state) / 2
    return np.linalg.norm(state.tool_pos - rim, axis=1)


def reached(state: WorldState) -> Mask:
    """The tool is at the box."""
    return _gap(state) < NEAR


def fallen(state: WorldState) -> Mask:
    """The box has dropped from the shelf."""
    return _rise(state) < -0.03


def _on_the_way(state: WorldState) -> Array:
    """How far [n] the box is on its way over the edge, in [0, 1]; 0 when it has fallen."""
    return np.where(_rise(state) > -0.01, 1 + (overhang(state) - OVERHANG) / 0.08, 0.0)


def pushed(state: WorldState) -> Mask:
    """The box lies flat and reaches over the edge far enough, and has not fallen."""
    return (overhang(state) > OVERHANG) & _flat(state) & (_rise(state) > -0.01)


def aligned(state: WorldState) -> Mask:
    """The gripper points at the rim that reaches over the edge, turned so that the fingers can close on it."""
    return pushed(state) & (_facing(state) > FACING) & (_across(state) > ACROSS) & (_ahead(state) < AHEAD)


def _aligning(state: WorldState) -> Array:
    """Progress [n] of the alignment: direction, turn and distance count by themselves, each can be mended alone."""
    return (np.maximum(_facing(state), 0.0) + _across(state) + 1 - np.tanh(4 * _ahead(state))) / 3


def _inside(state: WorldState) -> Mask:
    """The tool point is in the box: open fingers are around it."""
    return (np.abs(_tool_in_box(state)) < state.size("box") + RIM).all(axis=1)


def _grip(state: WorldState) -> Array:
    """Progress [n] of the grasp: first the fingers come around the rim, which closed ones cannot, then they close."""
    thick = 2 * state.size("box")[:, 2]
    around = (1 - np.tanh(20 * _ahead(state))) * np.minimum(state.width / thick, 1.0) * _across(state)
    closing = 1 - (state.width - thick) / 0.06
    return 0.6 * around + 0.4 * _inside(state) * np.clip(closing, 0.0, 1.0)


def grasped(state: WorldState) -> Mask:
    """The fingers have closed on the two large faces of the box."""
    thick = 2 * state.size("box")[:, 2]
    return _inside(state) & (_across(state) > SQUARE) & (np.abs(state.width - thick) < 0.006)


def lifted(state: WorldState) -> Mask:
    """The grasped box is high enough."""
    return grasped(state) & (_rise(state) > HEIGHT)


EDGE_GRASP = Task(
    name="edge_grasp",
    instructions=(
        (
            "pick up the flat box from the shelf",
            "push the box over the edge and lift it",
            "slide the flat box to the edge, grasp it there and raise it",
        ),
    ),
    bodies=("box", "shelf"),
    movable=("box",),
    stages=(
        Stage("reach", "move the gripper to the box", reached, lambda s: 1 - np.tanh(5 * _gap(s))),
        Stage("push", "push the box over the edge", pushed, _on_the_way),
        Stage("align", "point the gripper at the rim of the box", aligned, _aligning),
        Stage("grasp", "close the gripper on the rim", grasped, _grip),
        Stage("lift", "raise the box", lifted, lambda s: _rise(s) / HEIGHT),
    ),
    build=build,
    place=place,
    space=(0.2, 0.3, 0.35),
    action_space="ee_delta_6d",
    max_episode_steps=150,
    recolour=("box",),
    tool=tool,
    lost=fallen,
)
