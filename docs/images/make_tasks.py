"""Draw `tasks.png`: a row for each task, done by its scripted expert. Run it as `python docs/images/make_tasks.py`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robolearn.commands.view import play, shrink
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.cameras import external_camera
from robolearn.sim.experts.scripted import ScriptedExpert
from robolearn.sim.mirror import poses, set_pose
from robolearn.sim.pictures import film_strip
from robolearn.sim.raycast import RayCamera
from robolearn.sim.render import frame_indices
from robolearn.sim.tasks import TASKS

WIDTH, HEIGHT, FRAMES = 216, 162, 5
RAYS = 3  # per pixel along each side
COLOURS = 256  # of the palette, for a small file
FOVY, LOOKAT = 29.0, (0.5, 0.0, 0.1)  # nearer than the camera for learning: degrees, m
SEED = 0


def row(task: str) -> list[tuple[NDArray[np.uint8], str]]:
    """Pictures [HEIGHT, WIDTH, 3] of an episode of the Panda from start to end, and what to write on each."""
    env = MujocoVecEnv(task, "panda", autoreset=False)
    expert = ScriptedExpert(task, env.schema, 1)
    seen = [(poses(env.worlds)[0], moment.stage) for moment in play(env, expert, SEED)]
    names = (*env.stage_names, "done")
    near = replace(external_camera(env.robot), fovy=FOVY, lookat=LOOKAT)
    eye = RayCamera(env.worlds.model, near, WIDTH * RAYS, HEIGHT * RAYS)
    data = mujoco.MjData(env.worlds.model)
    pictures = []
    for t in frame_indices(len(seen), FRAMES):
        pose, stage = seen[t]
        set_pose(env.worlds.model, data, pose)
        rgb = eye.render(data.geom_xpos[None], data.geom_xmat[None], shadows=True).rgb[0]
        pictures.append((shrink(rgb, RAYS), f"{t / env.schema.fps:.1f} s  {names[stage]}" if t else task))
    env.close()
    return pictures


def main(path: Path, tasks: Iterable[str]) -> None:
    """Write the rows of `tasks` into one PNG file."""
    frames, captions = zip(*(picture for task in tasks for picture in row(task)), strict=True)
    strip = Image.fromarray(film_strip(frames, captions, columns=FRAMES))
    strip.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("tasks.png")
    main(target, TASKS)
