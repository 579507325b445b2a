"""Who takes part in `robolearn bench sim`, by name."""

from __future__ import annotations

from typing import cast

from robolearn.bench._cameras import ray_camera, robosuite_camera
from robolearn.bench._lift import Replay, commands_of_episode, ours, panda_worlds, physics
from robolearn.bench._robosuite import RobosuiteWorlds, make_lift, robosuite_lift
from robolearn.bench._turns import Turn, turn
from robolearn.sim.vec_env import WorldBatch


def pair(name: str, *, num_worlds: int, threads: int = 1, timestep: float = 0.005) -> dict[str, Turn]:
    """Ours as `name` and the limit of its scene as `name limit`."""
    worlds = panda_worlds(num_worlds, threads=threads, timestep=timestep)
    return {name: ours(worlds), f"{name} limit": physics(worlds, threads=threads)}


def robosuite_model(num_worlds: int) -> dict[str, Turn]:
    """Ours on robosuite's compiled model as `robosuite_model`, and the limit of that model."""
    source = make_lift()
    source.reset()
    scene = RobosuiteWorlds(source.sim.model._model, num_worlds)
    worlds = cast(WorldBatch, scene)  # it lacks what only privileged actions and randomisation need
    start, commands = commands_of_episode(worlds)
    limit = Replay(scene.model, start, scene.controls(commands))
    return {"robosuite_model": ours(worlds), "robosuite_model limit": turn(limit)}


def robosuite() -> dict[str, Turn]:
    """The other side: `robosuite` and `robosuite camera`.

    Raises:
        UserError: there is no OpenGL here.
    """
    return {"robosuite camera": robosuite_camera(), "robosuite": robosuite_lift()}


def ray_cameras() -> dict[str, Turn]:
    """Our camera as `rgb`, and as `rgbd` with depth and segmentation."""
    return {"rgb": ray_camera(), "rgbd": ray_camera(depth=True, segmentation=True)}
