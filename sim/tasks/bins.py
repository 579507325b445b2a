"""Open bins, and whether something is over or in one."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import matrix_from_quat
from robolearn.sim.objects import BOX, Rgba, add_fixture, add_solid
from robolearn.sim.state import WorldState

INNER = 0.045  # half the inner edge of a bin, m
WALL = 0.004  # thickness of walls and floor, m
RIM = 0.04  # height of its rim over the table, m
OUTER = INNER + WALL


def add_bin(spec: mujoco.MjSpec, name: str, *, rgba: Rgba) -> None:
    """Add a square bin, a fixture whose origin is the middle of its underside; its floor is the geom `name`."""
    body = add_fixture(spec, name)
    add_solid(body, BOX, (OUTER, OUTER, WALL / 2), name=name, pos=(0.0, 0.0, WALL / 2), rgba=rgba)
    half, middle = (RIM - WALL) / 2, (RIM + WALL) / 2
    for side in (-1, 1):
        at = side * (INNER + WALL / 2)
        add_solid(body, BOX, (WALL / 2, OUTER, half), pos=(at, 0.0, middle), rgba=rgba)
        add_solid(body, BOX, (INNER, WALL / 2, half), pos=(0.0, at, middle), rgba=rgba)


def in_bin_frame(state: WorldState, points: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Points [n, 3] of the base frame in the frame of a bin, m."""
    return np.einsum("nji,nj->ni", matrix_from_quat(state.quat(name)), points - state.pos(name))


def over_bin(inside: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points [n, 3] in a bin's frame are over its opening, at any height."""
    x, y, _ = np.abs(inside).T
    return (x < INNER) & (y < INNER)
