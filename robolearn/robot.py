"""What a robot arm is to simulator and controller alike: names, limits and a serial chain, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import matrix_from_quat

Floats = tuple[float, ...]
RISE = 0.002  # s from rest to full acceleration, as in the limits that Franka publishes, where a maker gives no jerk


@dataclass(frozen=True)
class Chain:
    """Fixed transforms of a serial chain of hinges, all about the local z axis.

    Attributes:
        pos: origin of joint frame i in frame i-1 at angle zero, in m; [n][3].
        quat: its orientation (w, x, y, z); [n][4].
        tool_pos: tool centre point in the last joint's frame, in m.
        tool_quat: its orientation; the tool's z axis points out of the gripper.
    """

    pos: tuple[Floats, ...]
    quat: tuple[Floats, ...]
    tool_pos: Floats
    tool_quat: Floats

    @cached_property
    def _fixed(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        return (
            np.array(self.pos),
            matrix_from_quat(np.array(self.quat)),
            np.array(self.tool_pos),
        )

    def forward(self, q: NDArray[np.float64]) -> Kinematics:
        """Forward kinematics of joint angles [..., n] in rad."""
        pos, rot, tool_pos = self._fixed
        lead, n = q.shape[:-1], q.shape[-1]
        cos, sin = np.cos(q), np.sin(q)
        anchors, axes = np.empty((*lead, n, 3)), np.empty((*lead, n, 3))
        origin = np.zeros((*lead, 3))
        frame = np.broadcast_to(np.eye(3), (*lead, 3, 3))
        for i in range(n):
            origin = origin + frame @ pos[i]
            frame = frame @ rot[i]
            # a turn about the local z axis mixes the first two columns
            c, s = cos[..., i, None], sin[..., i, None]
            x, y = frame[..., 0], frame[..., 1]
            frame = np.stack((c * x + s * y, c * y - s * x, frame[..., 2]), axis=-1)
            anchors[..., i, :], axes[..., i, :] = origin, frame[..., 2]
        tool_rot = matrix_from_quat(np.array(self.tool_quat))
        return Kinematics(anchors, axes, origin + frame @ tool_pos, frame @ tool_rot)


@dataclass(frozen=True)
class Kinematics:
    """Where the chain is, in the base frame.

    Attributes:
        anchors: joint origins [..., n, 3] in m.
        axes: joint axes [..., n, 3].
        tool_pos: tool centre point [..., 3] in m.
        tool_rot: tool orientation [..., 3, 3].
    """

    anchors: NDArray[np.float64]
    axes: NDArray[np.float64]
    tool_pos: NDArray[np.float64]
    tool_rot: NDArray[np.float64]

    def jacobian(self) -> NDArray[np.float64]:
        """Geometric Jacobian of the tool [..., 6, n]: linear (m/rad), then angular (1)."""
        arm = self.tool_pos[..., None, :] - self.anchors
        return np.concatenate((np.cross(self.axes, arm), self.axes), axis=-1).swapaxes(-1, -2)


@dataclass(frozen=True)
class RobotSpec:
    """An arm with a parallel gripper.

    Attributes:
        name: short name, e.g. "panda".
        joint_names: arm joints in the order of every joint vector.
        lower, upper: joint limits in rad.
        max_velocity: rad/s.
        max_acceleration: rad/s^2.
        home: resting configuration in rad.
        chain: kinematics from the base to the tool centre point between the fingers.
        gripper_joints: finger joints; their positions in m add up to the opening width.
        gripper_width: largest opening in m.
        gripper_speed: fastest change of the width in m/s.
        workspace: ((x, y, z) low, (x, y, z) high) of the tool centre point in the base frame, in m.
        work_area: ((x, y) low, (x, y) high) of the table that the gripper, pointing down, serves well, in m.
        max_jerk: rad/s^3; None where the maker gives none, see `jerk_limits`.
    """

    name: str
    joint_names: tuple[str, ...]
    lower: Floats
    upper: Floats
    max_velocity: Floats
    max_acceleration: Floats
    home: Floats
    chain: Chain
    gripper_joints: tuple[str, ...]
    gripper_width: float
    gripper_speed: float
    workspace: tuple[Floats, Floats]
    work_area: tuple[Floats, Floats]
    max_jerk: Floats | None = None

    @property
    def jerk_limits(self) -> Floats:
        """Largest jerk of each joint in rad/s^3; by default one that builds up the full acceleration in `RISE`."""
        if self.max_jerk is not None:
            return self.max_jerk
        return tuple(acceleration / RISE for acceleration in self.max_acceleration)

    @property
    def n_joints(self) -> int:
        """Number of arm joints, without the gripper."""
        return len(self.joint_names)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote, with lists in place of tuples."""
        fields = {key: _tuples(value) for key, value in data.items() if key != "chain"}
        chain = Chain(**{key: _tuples(value) for key, value in data["chain"].items()})
        return cls(chain=chain, **fields)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value
