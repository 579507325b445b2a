"""Script of `reach`: straight to the goal."""

from __future__ import annotations

import numpy as np

from robolearn.sim.experts.scene import Scene
from robolearn.sim.experts.script import OPEN, Memory, Motion


def reach(scene: Scene, memory: Memory) -> Motion:
    """Go to the goal and stay there."""
    way = scene.pos["goal"] + memory.aim - scene.tool_pos
    return Motion(way, np.zeros_like(way), np.full(len(way), OPEN))
