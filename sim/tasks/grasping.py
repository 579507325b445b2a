"""What tasks that pick up a box share: its predicates, and the stages that end with it in the gripper."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.stages import Stage
from robolearn.sim.state import WorldState

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

BETWEEN = 0.015  # m between a box and the point between the fingertips before these close
HELD = 0.03  # the same while they hold it
SLACK = 0.012  # m that the fingers are further apart than a box: more than it is held by
AWAY = 0.07  # m from a box to the gripper that has left it
SHUT = 0.04  # m that the fingers close from wide open to the box, about


def between(state: WorldState, body: str) -> Mask:
    """A box is between the fingertips [n]."""
    return state.tool_distance(body) < BETWEEN


def held(state: WorldState, body: str) -> Mask:
    """The fingers have closed on a box [n], wherever they hold it; a turned one is up to a diagonal wide."""
    edge = 2 * state.size(body)[:, 0]
    near = state.tool_distance(body) < HELD
    return near & (state.width < edge + SLACK) & (state.width > edge - 0.006)


def left(state: WorldState, body: str) -> Mask:
    """The gripper is open and away from a box [n]."""
    return _open(state, body) & (state.tool_distance(body) > AWAY)


def level(state: WorldState, body: str) -> Mask:
    """A body lies flat [n]: one of its axes is within 10 degrees of the vertical."""
    w, x, y, z = state.quat(body).T
    vertical = np.stack((2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)))
    return np.abs(vertical).max(axis=0) > np.cos(np.radians(10))


def bottom(state: WorldState, body: str) -> Array:
    """Height [n] in m of the underside of a box that lies flat."""
    return state.pos(body)[:, 2] - state.size(body)[:, 2]


def reach_stage(body: str, name: str) -> Stage:
    """Until the box is between the fingertips; `name` is how a sentence calls it."""
    return Stage(
        "reach",
        f"move the gripper to {name}",
        lambda s: between(s, body),
        lambda s: 1 - np.tanh(5 * s.tool_distance(body)),
    )


def grasp_stage(body: str, name: str) -> Stage:
    """Until the fingers hold it."""
    return Stage(
        "grasp",
        f"close the gripper on {name}",
        lambda s: held(s, body),
        lambda s: 1 - (s.width - 2 * s.size(body)[:, 0]) / SHUT,
    )


def leaving(state: WorldState, body: str) -> Array:
    """Progress [n] from holding a box to having left it: half for opening, half for the way."""
    opened = (state.width - 2 * state.size(body)[:, 0]) / SLACK
    return (np.clip(opened, 0, 1) + np.clip(state.tool_distance(body) / AWAY, 0, 1)) / 2


def _open(state: WorldState, body: str) -> Mask:
    return state.width > 2 * state.size(body)[:, 0] + SLACK
