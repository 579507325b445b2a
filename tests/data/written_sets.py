"""Small datasets that the tests of the writer make."""

import numpy as np

from robolearn.data.writer import DatasetWriter
from robolearn.schema import Feature, Schema

STAGES = ("reach", "grasp", "lift")
SENTENCES = ("move to the cube", "close the fingers", "raise the cube")
AXES = ("height", "width", "channels")
STATES = ("observation.state", "observation.environment_state", "privileged.force", "action")
CAMERAS = ("observation.images.top", "observation.images.wrist")


def picture(size, dtype="image", channels=3):
    return Feature(dtype, (*size, channels), AXES, ("1",) * 3, "observation")


def make_schema(*, cameras=(), size=(24, 32), more=None) -> Schema:
    def vector(n, role, **bounds):
        return Feature("float32", (n,), tuple(f"x{i}" for i in range(n)), ("m",) * n, role, **bounds)

    features = {
        "observation.state": vector(3, "observation"),
        "observation.environment_state": vector(2, "observation"),
        **{key: picture(size) for key in cameras},
        **(more or {}),
        "privileged.force": vector(1, "privileged"),
        "action": vector(2, "action", low=(-1.0, -1.0), high=(1.0, 1.0)),
    }
    return Schema(features, fps=20)


def make_frames(length: int, seed: int, schema: Schema | None = None) -> dict:
    rng = np.random.default_rng(seed)
    return {key: _channel(feature, length, rng) for key, feature in (schema or make_schema()).features.items()}


def _channel(feature, length, rng):
    shape = (length, *feature.shape)
    if feature.dtype in ("image", "video"):
        return film(shape, rng)
    if feature.dtype.startswith("float"):
        return rng.uniform(-1, 1, shape).astype(feature.dtype)
    return rng.integers(0, 2 if feature.dtype == "bool" else 99, shape).astype(feature.dtype)


def film(shape, rng):
    """A smooth background, over which a grey square moves: what a codec is made for."""
    length, height, width, _ = shape
    y, x = np.mgrid[:height, :width]
    colour = rng.uniform(60, 200, 3)
    frames = np.broadcast_to((x + y)[..., None] + colour - 40, shape).astype(np.uint8)
    for t, at in enumerate(rng.integers(0, min(height, width) - 4, length)):
        frames[t, at : at + 4, at : at + 4] = 40 + 7 * t
    return frames


def open_writer(root, **changes) -> DatasetWriter:
    arguments = {"schema": make_schema(), "robot_type": "panda", "stage_names": STAGES, "episodes_per_file": 3}
    arguments |= changes
    return DatasetWriter(root, arguments.pop("schema"), **arguments)


def make_stage(length):
    return np.minimum(np.arange(length) // 3, 3)


def add(writer: DatasetWriter, lengths, *, first: int = 0) -> None:
    for i, length in enumerate(lengths, start=first):
        frames = make_frames(length, i, writer.schema.select(set(writer.schema) - {"observation.stage"}))
        stage = make_stage(length) if writer.stage_names else None
        writer.add_episode(frames, task=f"task {i % 2}", stage=stage, seed=i, success=i % 3 != 0)
