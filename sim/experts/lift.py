"""Script of `lift`."""

from __future__ import annotations

import numpy as np

from robolearn.sim.experts.scene import Scene, wrap
from robolearn.sim.experts.script import CLOSED, OPEN, Memory, Motion, about_vertical

HOVER = 0.08  # m above an object while approaching


def lift(scene: Scene, memory: Memory) -> Motion:
    """Hover, align, go down, close, rise; from the scene alone, so that a dropped cube is grasped again."""
    cube, tool, aim = scene.pos["cube"], scene.tool_pos, memory.aim
    way = cube + aim - tool
    turn = wrap(scene.yaw["cube"] - scene.tool_yaw, np.pi / 2)
    near = np.linalg.norm(cube - tool, axis=1) < 0.015 + np.linalg.norm(aim, axis=1)
    arrived = np.linalg.norm(way, axis=1) < 0.010
    held = near & (scene.width < 0.052)
    aligned = (np.linalg.norm(way[:, :2], axis=1) < 0.012) & (np.abs(turn) < 0.15)
    hover = way + np.where(aligned, 0.0, HOVER)[:, None] * (0, 0, 1)
    move = np.where(held[:, None], (0.0, 0.0, 0.1), np.where(arrived[:, None], 0.0, hover))
    # the fingers stay closed while anything is between them
    closing = arrived | held | (near & (scene.width < 0.07))
    return Motion(move, about_vertical(np.where(held, 0.0, turn)), np.where(closing, CLOSED, OPEN))
