"""Drawer place: open a drawer by its handle, put the cube in, close it.

The frames of cabinet and drawer coincide while it is shut: x points the way it opens, z up, the origin lies on the
table below the middle of the drawer.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import matrix_from_quat, quat_about_z
from robolearn.sim.objects import BOX, add_fixture, add_free_object, add_solid
from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState
from robolearn.sim.tasks.bins import in_bin_frame
from robolearn.sim.tasks.grasping import SHUT, between, held
from robolearn.sim.tasks.task import Area, Start, Task

Array = NDArray[np.float64]

HALF = 0.02  # half the edge of the cube, m
DEPTH, WIDTH = 0.045, 0.045  # half sizes of the drawer's floor along and across, m
FLOOR = 0.007  # height of its upper side, m
RIM = 0.05  # m above the table: the centre of a cube that lies in the drawer is below
HANDLE = np.array((0.071, 0.0, 0.034))  # where one grasps, in the drawer's frame, m
KNOB = (0.012, 0.015, 0.012)  # half sizes of the handle, m
AT_HANDLE = 0.02  # m between the two while the fingers have hold of it
TRAVEL = 0.09  # how far it slides, m
OPEN, CLOSED = 0.07, 0.005  # m: it counts as open beyond the one and as closed below the other
TURN = 0.2  # largest turn of the cabinet away from the robot's x axis, rad
REACH = 0.12  # m from the handle of the shut drawer to the front of its handle when it is open
GAP = 0.16  # m between cube and drawer across, so that the open gripper fits between them
BESIDE = 0.04  # m that the handle stays away from the area's border: half the drawer's width
WALL, PLATE = 0.002, 0.003  # half thicknesses of the drawer's boards, and of the cabinet's and the front, m
SIDE = WIDTH + 0.01  # from the middle to the cabinet's sides, m
WOOD, FRONT, METAL = (0.55, 0.4, 0.28, 1), (0.75, 0.6, 0.42, 1), (0.3, 0.32, 0.36, 1)


def build(spec: mujoco.MjSpec, area: Area) -> None:
    """Add the cube, and the cabinet with its drawer on a sliding joint."""
    add_free_object(spec, "cube", BOX, (HALF, HALF, HALF), density=400.0, rgba=(0.85, 0.25, 0.2, 1))
    cabinet = add_fixture(spec, "cabinet")
    _add_boards(cabinet)
    _add_drawer(cabinet)
    spec.add_exclude(bodyname1="cabinet", bodyname2="drawer")  # the joint guides it


def _add_boards(cabinet: mujoco.MjsBody) -> None:
    """Two sides, back and top."""
    front, back, top = DEPTH - 0.002, -DEPTH - 0.013, 0.061
    middle, half = (front + back) / 2, (front - back) / 2
    for y in (-SIDE, SIDE):
        add_solid(cabinet, BOX, (half, PLATE, top / 2), pos=(middle, y, top / 2), rgba=WOOD)
    add_solid(cabinet, BOX, (PLATE, SIDE - PLATE, top / 2), pos=(back + PLATE, 0, top / 2), rgba=WOOD)
    add_solid(cabinet, BOX, (half, SIDE - PLATE, PLATE), pos=(middle, 0, top - PLATE), rgba=WOOD)


def _add_drawer(cabinet: mujoco.MjsBody) -> None:
    """Floor, two low sides, back, and the front with its handle."""
    drawer = cabinet.add_body(name="drawer")
    drawer.add_joint(
        name="drawer",
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=(1, 0, 0),
        range=(0, TRAVEL),
        limited=True,
        damping=5.0,
        frictionloss=1.0,
        solref_limit=(0.01, 1.0),  # stiff: an arm pushes hard against it
        solimp_limit=(0.99, 0.999, 0.001, 0.5, 2.0),
    )
    add_solid(drawer, BOX, (DEPTH, WIDTH, WALL), name="drawer", pos=(0, 0, FLOOR - WALL), rgba=FRONT)
    for y in (-WIDTH - WALL, WIDTH + WALL):
        add_solid(drawer, BOX, (DEPTH, WALL, 0.01), pos=(0, y, 0.015), rgba=FRONT)
    add_solid(drawer, BOX, (WALL, WIDTH + 2 * WALL, 0.01), pos=(-DEPTH - WALL, 0, 0.015), rgba=FRONT)
    add_solid(drawer, BOX, (PLATE, SIDE + PLATE, 0.025), pos=(DEPTH + PLATE, 0, 0.029), rgba=FRONT)
    neck = (HANDLE[0] - KNOB[0] + DEPTH + 2 * PLATE) / 2
    half = HANDLE[0] - KNOB[0] - neck
    add_solid(drawer, BOX, (half, 0.004, 0.006), pos=(neck, 0, HANDLE[2]), rgba=METAL)
    add_solid(drawer, BOX, KNOB, pos=HANDLE.tolist(), rgba=METAL)


def place(rng: np.random.Generator, area: Area) -> Start:
    """Stand the cabinet at the far side, its drawer towards the robot, and the cube left or right of it."""
    length, width = area.size
    side = rng.choice((-1.0, 1.0))
    spare = (width - GAP - BESIDE) / 2
    cube_y, handle_y = width / 2 - spare * rng.uniform(), BESIDE - width / 2 + spare * rng.uniform()
    cube = np.array((rng.uniform(area.low[0], area.high[0]), area.centre[1] + side * cube_y))
    handle = np.array((area.high[0] - (length - REACH) * rng.uniform(0, 0.5), area.centre[1] + side * handle_y))
    yaw = np.pi + rng.uniform(-TURN, TURN)
    cabinet = handle - HANDLE[0] * np.array((np.cos(yaw), np.sin(yaw)))
    return Start(
        {
            "cube": (np.array((*cube, HALF)), quat_about_z(rng.uniform(-np.pi / 4, np.pi / 4))),
            "cabinet": (np.array((*cabinet, 0.0)), quat_about_z(yaw)),
        },
        joints={"drawer": 0.0},
    )


def opening(cabinet: Array, drawer: Array) -> Array:
    """How far the drawer is open [n] in m, from the positions [n, 3] of cabinet and drawer."""
    return np.linalg.norm(drawer - cabinet, axis=1)


def on_drawer(point: Array, drawer: Array, rotation: Array) -> Array:
    """Points [n, 3] or [3] of the drawer's frame in the base frame, from its position [n, 3] and rotation [n, 3, 3]."""
    return drawer + np.einsum("nij,nj->ni", rotation, np.broadcast_to(point, drawer.shape))


def _opening(state: WorldState) -> Array:
    return opening(state.pos("cabinet"), state.pos("drawer"))


def _to_handle(state: WorldState) -> Array:
    handle = on_drawer(HANDLE, state.pos("drawer"), matrix_from_quat(state.quat("drawer")))
    return np.linalg.norm(handle - state.tool_pos, axis=1)


def _cube(state: WorldState) -> Array:
    return in_bin_frame(state, state.pos("cube"), "drawer")


def reached(state: WorldState) -> NDArray[np.bool_]:
    """The handle is between the fingertips."""
    return _to_handle(state) < AT_HANDLE


def opened(state: WorldState) -> NDArray[np.bool_]:
    """The drawer is open."""
    return _opening(state) > OPEN


def grasped(state: WorldState) -> NDArray[np.bool_]:
    """The drawer is open and the fingers hold the cube."""
    return opened(state) & held(state, "cube")


def placed(state: WorldState) -> NDArray[np.bool_]:
    """The cube is in the drawer, and the fingers have let go."""
    cube = _cube(state)
    inside = (np.abs(cube[:, :2]) < state.size("drawer")[:, :2]).all(axis=1) & (cube[:, 2] < RIM)
    return inside & ~held(state, "cube")


def closed(state: WorldState) -> NDArray[np.bool_]:
    """The drawer is shut, and the cube is in it."""
    return placed(state) & (_opening(state) < CLOSED)


def _grasp_progress(state: WorldState) -> Array:
    closing = np.clip(1 - (state.width - 2 * state.size("cube")[:, 0]) / SHUT, 0, 1)
    return 0.8 * (1 - np.tanh(5 * state.tool_distance("cube"))) + 0.2 * closing * between(state, "cube")


def _place_progress(state: WorldState) -> Array:
    return 1 - np.tanh(5 * np.linalg.norm(_cube(state) - (0, 0, FLOOR + HALF), axis=1))


DRAWER_PLACE = Task(
    name="drawer_place",
    instructions=(
        (
            "put the cube in the drawer",
            "open the drawer, put the cube in and close it",
            "store the block in the drawer and shut it",
        ),
    ),
    bodies=("cube", "cabinet", "drawer"),
    movable=("cube",),
    stages=(
        Stage("reach", "move the gripper to the handle", reached, lambda s: 1 - np.tanh(5 * _to_handle(s))),
        Stage("open", "pull the drawer open", opened, lambda s: _opening(s) / OPEN),
        Stage("grasp", "grasp the cube", grasped, _grasp_progress),
        Stage("place", "put the cube in the drawer", placed, _place_progress),
        Stage("close", "push the drawer shut", closed, lambda s: 1 - _opening(s) / OPEN),
    ),
    build=build,
    place=place,
    space=(REACH, GAP + BESIDE, 0.15),
    max_episode_steps=240,
    recolour=("cube", "cabinet"),
)
