"""Scripts of robosuite's Lift and NutAssemblySquare, for the Panda and its OSC_POSE controller."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.schema import Schema
from robolearn.sim.experts.scene import rotation_vector

Array = NDArray[np.float64]
Act = Callable[[Mapping[str, Array], Array], Array]

STEP, TURN = 0.05, 0.5  # m and rad that an action of 1 asks for
GAIN = 1.5  # share of the way that is asked for; the controller lags behind
CLOSE, OPEN = 1.0, -1.0
DOWN, HOVER = np.array([0.0, 0.0, -1.0]), np.array([0.0, 0.0, 0.08])  # m
CUBE_HELD, CUBE_CLOSING = 0.050, 0.065  # m of opening; the cube is 4 to 4.4 cm wide
HANDLE = 0.054  # m along the nut's x axis to its handle
PEG = np.array([0.23, 0.1])  # where the square peg stands, m
HANDLES = np.array([(-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, -1.0, 0.0)])  # ways it may point there, in the arm's reach
ABOVE_PEG, PEG_TOP, ON_PEG = 1.0, 0.95, 0.85  # heights of the nut carried, on its way down and done, m


class View:
    """What a script sees of one world, in robosuite's world frame.

    Attributes:
        hand: point between the fingertips [3], m.
        rotation: its orientation [3, 3]; the fingers open along column 0 and point along column 2.
        width: opening of the gripper, m.
    """

    def __init__(self, scene: Mapping[str, Array], schema: Schema) -> None:
        """Slice an observation by the names in `schema`."""
        state = scene["observation.state"]
        at = schema["observation.state"].names.index("gripper_width")
        pose = state[at + 1 :]
        self.width, self.hand = float(state[at]), pose[:3]
        self.rotation = np.stack((pose[3:6], pose[6:9], np.cross(pose[3:6], pose[6:9])), axis=1)
        self._objects = scene["observation.environment_state"]
        self._names = schema["observation.environment_state"].names

    def body(self, name: str) -> tuple[Array, Array]:
        """Position [3] of an object in m, and the direction [3] of its x axis, laid flat."""
        first, turn = (self._names.index(f"{name}_{part}_x") for part in ("pos", "quat"))
        x, y, z, w = self._objects[turn : turn + 4]
        along = np.array([1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 0.0])
        return self._objects[first : first + 3], along / np.linalg.norm(along)

    def turn_to(self, opening: Array, *, quarters: bool) -> Array:
        """Rotation vector [3] by which the fingers point down and open along a direction [3] or its opposite.

        With `quarters` also across it, whichever is nearest.
        """
        across = np.cross(DOWN, opening)
        near = max((opening, -opening, *((across, -across) if quarters else ())), key=lambda d: d @ self.rotation[:, 0])
        wanted = np.stack((near, np.cross(DOWN, near), DOWN), axis=1)
        turn: Array = rotation_vector((wanted @ self.rotation.T)[None])[0]
        return turn


def action(move: Array, turn: Array, gripper: float) -> Array:
    """Action [7] from the way still to go [3], m, and turn [3], rad."""
    motion = np.concatenate((GAIN * move / STEP, turn / TURN))
    return np.append(np.clip(motion, -1.0, 1.0), gripper)


def _require_width(task: str, schema: Schema) -> None:
    if "gripper_width" not in schema["observation.state"].names:
        raise UserError(f"the script of '{task}' needs a gripper of two sliding fingers: give robot=panda")


def lift(task: str, schema: Schema) -> Act:
    """Hover, align, go down, close, rise; from the scene alone, so that a dropped cube is grasped again."""
    _require_width(task, schema)

    def act(scene: Mapping[str, Array], aim: Array) -> Array:
        view = View(scene, schema)
        cube, along = view.body("cube")
        way, turn = cube + aim - view.hand, view.turn_to(along, quarters=True)
        near = np.linalg.norm(cube - view.hand) < 0.02 + np.linalg.norm(aim)
        if near and view.width < CUBE_HELD:
            return action(np.array([0.0, 0.0, 0.1]), np.zeros(3), CLOSE)
        if np.linalg.norm(way) < 0.012 or (near and view.width < CUBE_CLOSING):
            return action(np.zeros(3), turn, CLOSE)
        beside = np.linalg.norm(way[:2]) > 0.015 or np.linalg.norm(turn) > 0.2
        return action(way + beside * HOVER, turn, OPEN)

    return act


def nut_assembly_square(task: str, schema: Schema) -> Act:
    """Take the nut by its handle, carry it over the peg, turn it to a right angle, lower it."""
    _require_width(task, schema)
    closed = 0  # control steps since the fingers began to close

    def act(scene: Mapping[str, Array], aim: Array) -> Array:
        nonlocal closed
        view = View(scene, schema)
        nut, along = view.body("SquareNut")
        side: Array = np.cross(along, DOWN).astype(np.float64)  # across the handle
        handle = nut + HANDLE * along
        if np.linalg.norm(handle - view.hand) > 0.04 + np.linalg.norm(aim):
            closed = 0  # not there yet, or slipped
        way = handle + aim - view.hand
        if closed == 0:
            turn = view.turn_to(side, quarters=False)
            if np.linalg.norm(way) > 0.010:
                beside = np.linalg.norm(way[:2]) > 0.015 or np.linalg.norm(turn) > 0.15
                return action(way + beside * HOVER, turn, OPEN)
        closed += 1
        if closed < 8:
            return action(np.zeros(3), np.zeros(3), CLOSE)
        return _carry(view, nut, along, side, aim)

    return act


def _carry(view: View, nut: Array, along: Array, side: Array, aim: Array) -> Array:
    """Up, over the peg, down."""
    gap = PEG + aim[:2] - nut[:2]
    wanted = max(HANDLES, key=lambda d: d @ along)
    off = np.arctan2(np.cross(wanted, along)[2], wanted @ along)
    tilt = view.turn_to(side, quarters=False)
    turn = np.array([tilt[0], tilt[1], -off])
    around = nut[2] < PEG_TOP  # a nut that low and that near has the peg in its hole
    over = np.linalg.norm(gap) < (0.02 if around else 0.005) and (around or abs(off) < 0.08)
    if over:
        height = ON_PEG - 0.02
    elif nut[2] < ABOVE_PEG - 0.03:
        gap, turn, height = np.zeros(2), np.array([tilt[0], tilt[1], 0.0]), ABOVE_PEG
    else:
        height = ABOVE_PEG
    return action(np.append(gap, height - nut[2]), turn, CLOSE)
