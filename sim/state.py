"""What predicates, rewards and observations may look at: arrays over worlds, whatever the backend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WorldState:
    """State of n worlds after a control step; base frame, m and rad, quaternions (w, x, y, z).

    Attributes:
        joints: arm joint positions [n, n_joints].
        joint_velocities: rad/s, likewise.
        width: gripper opening [n].
        tool_pos: point between the fingertips [n, 3].
        tool_quat: its orientation [n, 4].
        objects: position [n, 3] and orientation [n, 4] of each free object by name.
    """

    joints: Array
    joint_velocities: Array
    width: Array
    tool_pos: Array
    tool_quat: Array
    objects: dict[str, tuple[Array, Array]]
