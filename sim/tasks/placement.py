"""Where things start on the table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.tasks.task import Area

TRIES = 1000


def scatter(rng: np.random.Generator, area: Area, n: int, *, distance: float) -> NDArray[np.float64]:
    """Draw n points (x, y) in the area, uniform among those with no two closer than `distance` m: [n, 2].

    Raises:
        UserError: the area has no room for them.
    """
    for _ in range(TRIES):
        points = np.stack([area.draw(rng) for _ in range(n)])
        gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + np.where(np.eye(n), np.inf, 0.0)
        if gaps.min() >= distance:
            return points
    raise UserError(
        f"no room for {n} bodies {distance:.2f} m apart in an area of {area.size[0]:.2f} x {area.size[1]:.2f} m"
    )
