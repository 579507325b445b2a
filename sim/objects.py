"""Objects that tasks put on the table."""

from __future__ import annotations

import mujoco

AFFINITY = 1 | 2  # objects touch gripper, table, each other (bit 0) and the arm's shell (bit 1)


def add_free_object(
    spec: mujoco.MjSpec,
    name: str,
    kind: mujoco.mjtGeom,
    size: tuple[float, float, float],
    *,
    density: float,
    rgba: tuple[float, float, float, float],
) -> None:
    """Add a body with a free joint of the same name and one geom; `density` in kg/m^3."""
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    body.add_geom(
        name=name,
        type=kind,
        size=size,
        density=density,
        rgba=rgba,
        friction=(1.0, 0.01, 0.0001),
        condim=4,
        conaffinity=AFFINITY,
    )
