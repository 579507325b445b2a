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
    """Draw the first successful and the first failed episode; episodes must be recorded with `qpos`."""
    from robolearn.sim.pictures import save_png, write_video
    from robolearn.sim.render import render_trajectory

    paths = []
    for name, wanted in (("success", True), ("failure", False)):
        episode = next((e for e in episodes if e.success is wanted), None)
        if episode is None:
            continue
        qpos = episode.frames["qpos"]
        paths.append(out / f"{name}_{episode.seed}.png")
        save_png(paths[-1], draw(env, qpos, episode.frames["observation.stage"]))
        if video:
            paths.append(paths[-1].with_suffix(".mp4"))
            frames = render_trajectory(env.worlds.model, qpos, n_frames=len(qpos), samples=1)
            write_video(paths[-1], frames, fps=env.schema.fps)
    return paths


def draw(env: RobotVecEnv, qpos: NDArray[Any], stage: NDArray[Any], dt: float | None = None) -> NDArray[np.uint8]:
    """A film strip of one episode: generalised positions [T, nq] and stages [T], `dt` s apart (a control step)."""
    from robolearn.sim.pictures import film_strip
    from robolearn.sim.render import frame_indices, render_trajectory

    names = (*env.stage_names, "done")
    step = 1 / env.schema.fps if dt is None else dt
    captions = [f"{t * step:.1f} s  {names[int(stage[t])]}" for t in frame_indices(len(qpos), FRAMES)]
    frames = render_trajectory(env.worlds.model, qpos, n_frames=FRAMES)
    return film_strip(frames, captions)
