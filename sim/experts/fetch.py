"""Script of Gymnasium-Robotics' FetchPickAndPlace."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from robolearn.schema import Schema

Array = NDArray[np.float64]
HAND, BLOCK, FINGERS = slice(0, 3), slice(3, 6), slice(9, 11)  # of the observation, m
GOAL = slice(3, 6)  # of the goals: where the block is, then where it shall be
GAIN = 12.0  # action per m of way; 1 moves the hand by 5 cm
HOVER = np.array([0.0, 0.0, 0.06])  # m above the block while approaching
CLOSE, OPEN = -1.0, 1.0
GRASPED, CLOSING = 0.055, 0.085  # m between the fingers: with the block between them, and on the way there


def fetch_pick_and_place(task: str, schema: Schema) -> Callable[[Mapping[str, Array], Array], Array]:
    """Hover, go down, close, carry; from the scene alone, so that a dropped block is grasped again."""

    def act(scene: Mapping[str, Array], aim: Array) -> Array:
        state = scene["observation.state"]
        hand, block, width = state[HAND], state[BLOCK], state[FINGERS].sum()
        way = block + aim - hand
        near = np.linalg.norm(block - hand) < 0.02 + np.linalg.norm(aim)
        if near and width < GRASPED:
            move, grip = scene["observation.environment_state"][GOAL] - block, CLOSE
        elif np.linalg.norm(way) < 0.012 or (near and width < CLOSING):
            move, grip = np.zeros(3), CLOSE  # the fingers stay closed while anything is between them
        else:
            beside = np.linalg.norm(way[:2]) > 0.012
            move, grip = way + beside * HOVER, OPEN
        return np.append(np.clip(GAIN * move, -1.0, 1.0), grip)

    return act
