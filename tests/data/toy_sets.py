"""Small datasets for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robolearn.data.writer import DatasetWriter
from robolearn.schema import Feature, Schema

STAGES = ("reach", "lift")
TASKS = ("lift the cube", "take the cube up")
IMAGE = "observation.images.front"


def make_schema(*, images: bool = False, fps: int = 20) -> Schema:
    features = {
        "observation.state": Feature("float32", (3,), ("x", "y", "z"), ("m",) * 3, "observation"),
        "action": Feature("float32", (2,), ("dx", "grip"), ("m", "1"), "action", (-1.0, -1.0), (1.0, 1.0)),
    }
    if images:
        features[IMAGE] = Feature("image", (16, 24, 3), ("height", "width", "channels"), ("1",) * 3, "observation")
    return Schema(features, fps)


def make_frames(length: int, seed: int, *, images: bool = False) -> dict:
    """Smooth motion, a gripper that closes, and pictures that say which frame of which episode they are."""
    rng, t = np.random.default_rng(seed), np.linspace(0, 1, length)[:, None]
    frames = {
        "observation.state": (np.sin(t * 3 + rng.uniform(0, 6, 3)) + rng.normal(0, 1e-3, (length, 3))).astype(
            np.float32
        ),
        "action": np.concatenate([np.cos(t * 5 + seed) * 0.5, np.where(t > 0.5, 1.0, -1.0)], 1).astype(np.float32),
    }
    if images:
        pictures = np.zeros((length, 16, 24, 3), np.uint8)
        pictures[..., 0] = (np.arange(length) * 6)[:, None, None]
        pictures[..., 1] = 20 * (seed % 10)
        frames[IMAGE] = pictures
    return frames


def make_set(
    root: Path,
    lengths: tuple[int, ...] = (20, 25, 30),
    *,
    images: bool = False,
    video: bool = True,
    first_seed: int = 0,
    fps: int = 20,
    robot: str = "panda",
    **options,
) -> Path:
    """Write episodes of these lengths; every third one fails."""
    schema = make_schema(images=images, fps=fps)
    writer = DatasetWriter(root, schema, robot_type=robot, stage_names=STAGES, video=video, **options)
    for i, length in enumerate(lengths):
        seed = first_seed + i
        stage = np.repeat([0, 1, 2], [length // 2, length - length // 2 - 2, 2])
        success = seed % 3 != 2
        writer.add_episode(
            make_frames(length, seed, images=images),
            task=TASKS[seed % 2],
            stage=np.minimum(stage, 2 if success else 1),
            seed=seed,
            success=success,
        )
    writer.finalize()
    return root
