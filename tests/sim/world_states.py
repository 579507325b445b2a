"""States of worlds made by hand, for predicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from robolearn.sim.state import WorldState

UPRIGHT = (1.0, 0.0, 0.0, 0.0)


def make_state(
    *,
    tool: ArrayLike,
    width: ArrayLike,
    bodies: Mapping[str, ArrayLike],
    half: Mapping[str, Sequence[float]] | None = None,
    quats: Mapping[str, ArrayLike] | None = None,
    tool_quat: ArrayLike = UPRIGHT,
    variant: ArrayLike = 0,
    joints: int = 7,
) -> WorldState:
    """Worlds from tool positions [n, 3], widths [n] and, by name, positions [n, 3], half sizes [3], quaternions."""
    tool = np.atleast_2d(np.asarray(tool, float))
    n = len(tool)
    pos = [np.broadcast_to(np.asarray(p, float), (n, 3)) for p in bodies.values()]
    quat = [np.broadcast_to(np.asarray((quats or {}).get(name, UPRIGHT), float), (n, 4)) for name in bodies]
    size = [np.broadcast_to((half or {}).get(name, (0.0, 0.0, 0.0)), (n, 3)) for name in bodies]
    return WorldState(
        joints=np.zeros((n, joints)),
        joint_velocities=np.zeros((n, joints)),
        width=np.broadcast_to(np.asarray(width, float), n),
        tool_pos=tool,
        tool_quat=np.broadcast_to(np.asarray(tool_quat, float), (n, 4)),
        body_pos=np.stack(pos, axis=1),
        body_quat=np.stack(quat, axis=1),
        half=np.stack(size, axis=1),
        variant=np.broadcast_to(np.asarray(variant, np.int64), n),
        names={name: k for k, name in enumerate(bodies)},
    )
