"""What predicates, rewards and observations may look at: arrays over worlds, whatever the backend."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.kernels import rotation_matrices

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
        body_pos: positions [n, n_bodies, 3] of the task's bodies, in the task's order.
        body_quat: their orientations [n, n_bodies, 4].
        half: half sizes [n, n_bodies, 3] of the geom of the same name (MuJoCo's `geom_size`), 0 where there is none.
        variant: which of the task's variants is asked for [n].
        names: index of each body by its name.
    """

    joints: Array
    joint_velocities: Array
    width: Array
    tool_pos: Array
    tool_quat: Array
    body_pos: Array
    body_quat: Array
    half: Array
    variant: NDArray[np.int64]
    names: dict[str, int]

    def pos(self, body: str) -> Array:
        """Position [n, 3] of a body."""
        return self.body_pos[:, self.names[body]]

    def quat(self, body: str) -> Array:
        """Orientation [n, 4] of a body."""
        return self.body_quat[:, self.names[body]]

    def rot(self, body: str) -> Array:
        """Orientation [n, 3, 3] of a body."""
        return self._body_rot[:, self.names[body]]

    @cached_property
    def tool_rot(self) -> Array:
        """Orientation [n, 3, 3] of the tool; column 2 points out of the gripper, the fingers open along column 1."""
        return rotation_matrices(self.tool_quat)

    @cached_property
    def _body_rot(self) -> Array:
        return rotation_matrices(self.body_quat)

    def size(self, body: str) -> Array:
        """Half sizes [n, 3] of a body's geom of the same name."""
        return self.half[:, self.names[body]]

    def tool_distance(self, body: str) -> Array:
        """Distance [n] in m from a body's origin to the point between the fingertips."""
        return self._tool_distances[:, self.names[body]]

    @cached_property
    def _tool_distances(self) -> Array:
        return np.sqrt(((self.body_pos - self.tool_pos[:, None]) ** 2).sum(axis=-1))

    @property
    def objects(self) -> dict[str, tuple[Array, Array]]:
        """Position [n, 3] and orientation [n, 4] of each body by its name."""
        return {name: (self.pos(name), self.quat(name)) for name in self.names}
