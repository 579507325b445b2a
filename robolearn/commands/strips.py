"""Film strips of recorded episodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from robolearn.eval.rollout import Episode
    from robolearn.sim.vec_env import RobotVecEnv

FRAMES = 6


def save_strips(out: Path, env: RobotVecEnv, episodes: Sequence[Episode], *, video: bool = False) -> list[Path]:
    """Draw the first successful and the first failed episode; episodes must be recorded with `pose`."""
    from robolearn.sim.pictures import save_png, write_video
    from robolearn.sim.render import render_trajectory

    paths = []
    for name, wanted in (("success", True), ("failure", False)):
        episode = next((e for e in episodes if e.success is wanted), None)
        if episode is None:
            continue
        poses = episode.frames["pose"]
        paths.append(out / f"{name}_{episode.seed}.png")
        save_png(paths[-1], draw(env, poses, episode.frames["observation.stage"]))
        if video:
            paths.append(paths[-1].with_suffix(".mp4"))
            frames = render_trajectory(env.worlds.model, poses, n_frames=len(poses), samples=1)
            write_video(paths[-1], frames, fps=env.schema.fps)
    return paths


def draw(env: RobotVecEnv, poses: NDArray[Any], stage: NDArray[Any], dt: float | None = None) -> NDArray[np.uint8]:
    """A film strip of one episode: its `robolearn.sim.mirror.poses` [T, size] and stages [T], `dt` s apart.

    Without `dt` they are a control step apart.
    """
    from robolearn.sim.pictures import film_strip
    from robolearn.sim.render import frame_indices, render_trajectory

    names = (*env.stage_names, "done")
    step = 1 / env.schema.fps if dt is None else dt
    captions = [f"{t * step:.1f} s  {names[int(stage[t])]}" for t in frame_indices(len(poses), FRAMES)]
    frames = render_trajectory(env.worlds.model, poses, n_frames=FRAMES)
    return film_strip(frames, captions)
