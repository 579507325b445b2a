"""Bodies that tasks put on the table."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco

AFFINITY = 1 | 2  # objects touch gripper, table, each other (bit 0) and the arm's shell (bit 1)
FRICTION = (1.0, 0.01, 0.0001)
Size = Sequence[float]
Rgba = tuple[float, float, float, float]
BOX = mujoco.mjtGeom.mjGEOM_BOX


def add_free_object(
    spec: mujoco.MjSpec, name: str, kind: mujoco.mjtGeom, size: Size, *, density: float, rgba: Rgba
) -> mujoco.MjsBody:
    """Add a body with a free joint and one geom, both of the same name; `density` in kg/m^3."""
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    add_solid(body, kind, size, name=name, density=density, rgba=rgba)
    return body


def add_fixture(spec: mujoco.MjSpec, name: str) -> mujoco.MjsBody:
    """Add a body that stands where an episode's start puts it and never moves (MuJoCo's mocap body)."""
    return spec.worldbody.add_body(name=name, mocap=True)


def add_solid(
    body: mujoco.MjsBody,
    kind: mujoco.mjtGeom,
    size: Size,
    *,
    name: str = "",
    pos: Size = (0.0, 0.0, 0.0),
    density: float = 1000.0,
    rgba: Rgba,
) -> None:
    """Add a geom that gripper, objects and arm collide with; `size` as in MuJoCo, `pos` in the body's frame, m."""
    body.add_geom(
        name=name,
        type=kind,
        size=size,
        pos=pos,
        density=density,
        rgba=rgba,
        friction=FRICTION,
        condim=4,
        conaffinity=AFFINITY,
    )


def add_mark(body: mujoco.MjsBody, kind: mujoco.mjtGeom, size: Size, *, name: str, rgba: Rgba) -> None:
    """Add a geom that is seen but touches nothing, such as a goal drawn on the table."""
    body.add_geom(name=name, type=kind, size=size, rgba=rgba, contype=0, conaffinity=0, density=0.0)
