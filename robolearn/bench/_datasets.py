"""Readers and writers of datasets that `robolearn bench data` times, and the episodes that they handle."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.bench._lift import FPS, SEED, panda_worlds, random_actions
from robolearn.bench._turns import Turn, turn
from robolearn.data import video as encoding
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.images import ImageOptions
from robolearn.data.writer import DatasetWriter
from robolearn.schema import Schema
from robolearn.sim.backends.layout import substeps
from robolearn.sim.vec_env import RobotVecEnv

CAMERAS = ("external", "wrist")
TASK = "lift the cube"
REPO = "local/bench"  # LeRobot wants a name even where there is no hub
Frames = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Recording:
    """Episodes of equal length.

    Attributes:
        schema: their channels.
        episodes: arrays [steps, *shape] by channel, of each episode.
    """

    schema: Schema
    episodes: list[Frames]

    def without_pictures(self) -> Recording:
        """Return the low-dimensional channels."""
        schema = self.schema.select(key for key, feature in self.schema.features.items() if len(feature.shape) == 1)
        return Recording(schema, [{key: frames[key] for key in schema} for frames in self.episodes])


@dataclass(frozen=True)
class Sampling:
    """What a training step asks for.

    Attributes:
        batch_size: windows of a batch.
        n_obs_steps: frames of history, the current one included.
        horizon: actions from the current one on.
    """

    batch_size: int
    n_obs_steps: int
    horizon: int


def record(*, episodes: int, steps: int, size: int) -> Recording:
    """Simulate `lift` with random actions, seen by two cameras of `size` pixels."""
    worlds = panda_worlds(episodes)
    decimation = substeps(fps=FPS, timestep=worlds.model.opt.timestep)
    env = RobotVecEnv(
        worlds,
        fps=FPS,
        decimation=decimation,
        max_episode_steps=steps,
        autoreset=False,
        cameras=CAMERAS,
        image_size=size,
    )
    kept: dict[str, list[NDArray[Any]]] = {key: [] for key in env.schema}
    observation, _ = env.reset(seed=SEED)
    for action in random_actions(env, steps):
        now = {**observation, "action": action}
        for key, values in kept.items():
            values.append(np.array(now[key]))
        observation = env.step(action)[0]
    env.close()
    channels = {key: np.stack(values, axis=1) for key, values in kept.items()}
    return Recording(env.schema, [{key: values[i] for key, values in channels.items()} for i in range(episodes)])


def write(root: Path, recording: Recording, *, video: bool = True) -> None:
    """Write a dataset for both sides to read."""
    writer = DatasetWriter(root, recording.schema, robot_type="panda", video=video)
    for frames in recording.episodes:
        writer.add_episode(frames, task=TASK)
    writer.finalize()


def our_batches(root: Path, sampling: Sampling, cache: Path | None = None) -> Turn:
    """Shuffled batches as torch tensors; with pictures, mapped from `cache`, where one is given."""
    import torch

    images = None if cache is None else ImageOptions(budget=0, folder=cache)
    windows = EpisodeDataset.load(root, images=images).windows(sampling.n_obs_steps, sampling.horizon)
    draw, steps = windows.shuffled(sampling.batch_size, seed=SEED), count()

    def batch() -> int:
        return bool({key: torch.from_numpy(values) for key, values in draw(next(steps)).items()})

    return turn(batch)


def their_batches(root: Path, schema: Schema, sampling: Sampling) -> Turn:
    """The same from torch's DataLoader over a LeRobotDataset, without worker processes."""
    import torch

    generator = torch.Generator().manual_seed(SEED)
    dataset = _their_dataset(root, offsets(schema, sampling))
    loader = torch.utils.data.DataLoader(
        dataset, sampling.batch_size, shuffle=True, drop_last=True, num_workers=0, generator=generator
    )

    def forever() -> Iterator[Any]:
        while True:
            yield from loader

    batches = forever()
    return turn(lambda: bool(next(batches)))


def offsets(schema: Schema, sampling: Sampling) -> dict[str, list[float]]:
    """Return LeRobot's `delta_timestamps` in s."""
    past = [i / schema.fps for i in range(1 - sampling.n_obs_steps, 1)]
    future = [i / schema.fps for i in range(sampling.horizon)]
    return {**dict.fromkeys(schema.observation_keys, past), "action": future}


def our_decoding(root: Path, cache: Path) -> Turn:
    """Loading with pictures for the first time, into the folder `cache`; counts pictures."""
    options = ImageOptions(budget=0, folder=cache)

    def load() -> int:
        return sum(map(len, EpisodeDataset.load(root, images=options).images.values()))

    return turn(load, prepare=lambda: shutil.rmtree(cache, ignore_errors=True))


def our_opening(root: Path, cache: Path) -> Turn:
    """Loading with pictures that are in `cache` already."""
    options = ImageOptions(budget=0, folder=cache)
    EpisodeDataset.load(root, images=options)
    return turn(lambda: bool(EpisodeDataset.load(root, images=options).images))


def their_decoding(root: Path, *, samples: int) -> Turn:
    """Consecutive samples without offsets, `samples` at a time; counts pictures."""
    dataset = _their_dataset(root, None)
    order = cycle(range(len(dataset)))

    def read() -> int:
        return sum(len(dataset.meta.camera_keys) for _ in range(samples) if dataset[next(order)])

    return turn(read)


def our_writing(root: Path, recording: Recording, *, video: bool = True) -> Turn:
    """Append one episode after another; counts frames."""
    writer = DatasetWriter(root, recording.schema, robot_type="panda", video=video)
    episodes = cycle(recording.episodes)

    def add() -> int:
        frames = next(episodes)
        writer.add_episode(frames, task=TASK)
        return len(frames["action"])

    return turn(add)


def their_writing(
    root: Path, recording: Recording, stack: ExitStack, *, video: bool = True, like_ours: bool = False
) -> Turn:
    """The same with LeRobot, in one process; `stack` closes it.

    Args:
        root: a new folder.
        recording: what is written.
        stack: ends writing on exit.
        video: pictures as videos, else as PNG.
        like_ours: with our encoder settings, and streamed to the encoder, which spares LeRobot its PNG files; else by
            LeRobot's defaults.
    """
    from lerobot.configs import RGBEncoderConfig
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    options: dict[str, Any] = {}
    if like_ours:
        encoder = RGBEncoderConfig(
            vcodec=encoding.CODEC,
            g=encoding.GROUP,
            crf=encoding.QUALITY,
            preset=encoding.PRESET,
            extra_options={"bf": 0},
        )
        options = {"rgb_encoder": encoder, "streaming_encoding": True, "encoder_threads": 1}
    dataset = LeRobotDataset.create(
        REPO, fps=recording.schema.fps, features=_their_features(recording.schema, video), root=root, **options
    )
    stack.callback(dataset.finalize)
    episodes = cycle([_rows(frames) for frames in recording.episodes])

    def add() -> int:
        rows = next(episodes)
        for row in rows:
            dataset.add_frame({**row, "task": TASK})
        dataset.save_episode(parallel_encoding=False)
        return len(rows)

    return turn(add)


def _their_dataset(root: Path, delta_timestamps: dict[str, list[float]] | None) -> Any:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    # as `lerobot-train` opens it
    return LeRobotDataset(REPO, root=root, delta_timestamps=delta_timestamps, return_uint8=True)


def _their_features(schema: Schema, video: bool) -> dict[str, dict[str, Any]]:
    features = schema.to_lerobot()
    for feature in features.values():
        feature["shape"] = tuple(feature["shape"])  # compared with an array's
        if feature["dtype"] == "image" and video:
            feature["dtype"] = "video"
    return features


def _rows(frames: Frames) -> list[Frames]:
    return [{key: values[i] for key, values in frames.items()} for i in range(len(frames["action"]))]
