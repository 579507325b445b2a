"""`robolearn view`: look at a task, in a window or as a video."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.commands.common import console, progress
from robolearn.commands.experts import make_expert
from robolearn.commands.strips import FRAMES
from robolearn.commands.worlds import make_env
from robolearn.config import ViewConfig
from robolearn.errors import UserError, nearest
from robolearn.eval.rollout import Actor

if TYPE_CHECKING:
    from robolearn.sim.raycast import RayCamera
    from robolearn.sim.vec_env import RobotVecEnv

Pose = tuple[NDArray[np.float64], NDArray[np.float64]]  # of all geoms: positions [1, ngeom, 3], axes [1, ngeom, 9]
ACTORS = ("expert", "random", "hold")
WIDTH, HEIGHT = 640, 480  # of the video
STRIP_SHRINK = 2  # a frame of the film strip is this much smaller
SMOOTHNESS = 2  # rays per pixel along each side
PAUSE = 1.0  # s between episodes in the window


def run(config: ViewConfig) -> None:
    """Open a window where there is a display, else write a video and a film strip per episode."""
    env = make_env(config.task, config.robot, replace(config.env, num_envs=1, threads=1, cameras=[]))
    actor = make_actor(env, config)
    try:
        if config.window and has_display():
            console.print("close the window to end")
            watch(env, actor, first_seed=config.seed)
        else:
            for seed in range(config.seed, config.seed + config.episodes):
                film(env, actor, seed=seed, camera=config.camera, out=Path(config.out))
    finally:
        env.close()


def make_actor(env: RobotVecEnv, config: ViewConfig) -> Actor:
    """Who acts: the expert of the configuration, random actions, or none that move.

    Raises:
        UserError: there is no such actor.
    """
    if config.actor not in ACTORS:
        raise UserError(f"unknown actor '{config.actor}'{nearest(config.actor, ACTORS)}")
    if config.actor == "expert":
        return make_expert(env, config.expert)
    low, high = (np.array(bound, np.float32) for bound in (env.schema.action.low, env.schema.action.high))
    return RandomActor(low, high) if config.actor == "random" else RandomActor(0 * low, 0 * high)


class RandomActor:
    """Draws each component of one world's action between its bounds."""

    def __init__(self, low: NDArray[Any], high: NDArray[Any]) -> None:
        """Draw between `low` and `high` [action_dim]."""
        self._low, self._high = low, high
        self._rng = np.random.default_rng(0)

    def reset(self, seeds: Sequence[int], mask: NDArray[np.bool_] | None = None) -> None:
        """Begin an episode."""
        self._rng = np.random.default_rng(seeds[0])

    def act(self, observation: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return an action [1, action_dim]."""
        return self._rng.uniform(self._low, self._high)[None].astype(np.float32)


@dataclass(frozen=True)
class Moment:
    """What happens at a control step: stage reached (the number of stages: done), and whether the episode is over."""

    stage: int
    over: bool


def play(env: RobotVecEnv, actor: Actor, seed: int) -> Iterator[Moment]:
    """Run an episode in the one world of `env` and stop at every control step, beginning and end included."""
    actor.reset([seed])
    observation, info = env.reset(seed=[seed])
    over = False
    yield Moment(int(info["stage"][0]), over)
    while not over:
        observation, _, terminated, truncated, info = env.step(actor.act(observation))
        over = bool(terminated[0] or truncated[0])
        yield Moment(int(info["stage"][0]), over)


def film(env: RobotVecEnv, actor: Actor, *, seed: int, camera: str, out: Path) -> tuple[Path, Path]:
    """Write `<task>_<seed>.mp4` and `.png` of an episode, as a camera sees it, and say where they are.

    Raises:
        UserError: there is no such camera, or it cannot draw the scene.
    """
    from robolearn.sim.cameras import cameras_of, find_camera
    from robolearn.sim.pictures import film_strip, save_png, write_video
    from robolearn.sim.raycast import RayCamera
    from robolearn.sim.render import frame_indices

    spec = find_camera(cameras_of(env.worlds.model, env.robot), camera)
    eye = RayCamera(env.worlds.model, spec, WIDTH * SMOOTHNESS, HEIGHT * SMOOTHNESS)
    poses, stages = _record(env, actor, seed)
    names, step = (*env.stage_names, "done"), 1 / env.schema.fps
    console.print(f"seed {seed}: '{env.instructions[0]}': {names[stages[-1]]} after {(len(poses) - 1) * step:.1f} s")
    out.mkdir(parents=True, exist_ok=True)
    video = out / f"{env.task.name}_{seed}.mp4"
    strip = video.with_suffix(".png")
    write_video(video, _frames(eye, poses), fps=env.schema.fps)
    chosen = frame_indices(len(poses), FRAMES)
    captions = [f"{t * step:.1f} s  {names[stages[t]]}" for t in chosen]
    small = [_draw(eye, poses[t], SMOOTHNESS * STRIP_SHRINK) for t in chosen]
    save_png(strip, film_strip(small, captions))
    for path in (video, strip):
        console.print(f"picture {path}", soft_wrap=True)
    return video, strip


def _record(env: RobotVecEnv, actor: Actor, seed: int) -> tuple[list[Pose], list[int]]:
    """Geom poses and stage of every moment of an episode."""
    import mujoco

    from robolearn.sim.mirror import poses, set_pose

    data = mujoco.MjData(env.worlds.model)
    seen, stages = [], []
    for moment in play(env, actor, seed):
        set_pose(env.worlds.model, data, poses(env.worlds)[0])
        seen.append((data.geom_xpos[None].copy(), data.geom_xmat[None].copy()))
        stages.append(moment.stage)
    return seen, stages


def _frames(eye: RayCamera, poses: Sequence[Pose]) -> Iterator[NDArray[np.uint8]]:
    with progress("draw", len(poses)) as advance:
        for pose in poses:
            yield _draw(eye, pose, SMOOTHNESS)
            advance(1)


def _draw(eye: RayCamera, pose: Pose, factor: int) -> NDArray[np.uint8]:
    return shrink(eye.render(*pose, shadows=True).rgb[0], factor)


def shrink(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Average blocks of `factor` x `factor` pixels of an image [height, width, 3]."""
    height, width, _ = picture.shape
    blocks = picture.reshape(height // factor, factor, width // factor, factor, 3)
    return (blocks.mean(axis=(1, 3)) + 0.5).astype(np.uint8)


def has_display() -> bool:
    """Whether a window can be opened here."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    import glfw

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glfw warns of what the answer says
        return bool(glfw.init())


def watch(env: RobotVecEnv, actor: Actor, *, first_seed: int) -> None:
    """Show episode after episode in real time until the window is closed."""
    import mujoco
    import mujoco.viewer

    from robolearn.sim.mirror import poses, set_pose

    data = mujoco.MjData(env.worlds.model)
    with mujoco.viewer.launch_passive(env.worlds.model, data, show_left_ui=False, show_right_ui=False) as window:
        _look_from_outside(window, env)
        for seed in count(first_seed):
            due = time.monotonic()
            for moment in play(env, actor, seed):
                if not window.is_running():
                    return
                with window.lock():
                    set_pose(env.worlds.model, data, poses(env.worlds)[0])
                window.sync()
                due += PAUSE if moment.over else 1 / env.schema.fps
                time.sleep(max(0.0, due - time.monotonic()))


def _look_from_outside(window: Any, env: RobotVecEnv) -> None:
    from robolearn.sim.cameras import external_camera

    camera = external_camera(env.robot)
    assert camera.lookat is not None
    x, y, z = np.subtract(camera.lookat, camera.pos)
    distance = math.hypot(x, y, z)
    with window.lock():
        window.cam.lookat[:] = camera.lookat
        window.cam.distance = distance
        window.cam.azimuth = math.degrees(math.atan2(y, x))
        window.cam.elevation = math.degrees(math.asin(z / distance))
