"""What a reward model says of every frame of a dataset; a killed run goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.commands.common import progress, read_result, save_result
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.files import replacing
from robolearn.data.images import ImageOptions
from robolearn.data.reading import read_info
from robolearn.errors import UserError, nearest
from robolearn.schema import Schema

if TYPE_CHECKING:
    from robolearn.rewards.lerobot_models.load import LeRobotEstimator
    from robolearn.rewards.serving import TorchEstimator

Array = NDArray[np.float64]
Frames = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Reader:
    """A reward model that reads recorded episodes.

    Attributes:
        keys: channels that it reads.
        stage_names: the stages that it knows, in order; none where it knows of progress only.
        schema: what the channels must be; None where any will do.
        read: stage and progress [T, 2] of frames [T, ...] and their instruction.
    """

    keys: tuple[str, ...]
    stage_names: tuple[str, ...]
    schema: Schema | None
    read: Callable[[Frames, str], Array]


@dataclass(frozen=True)
class Readings:
    """What it said.

    Attributes:
        stages: the stage [T] of each episode's frames; the number of stages where all is done.
        progress: [frames] of the task, in [0, 1].
    """

    stages: list[NDArray[np.int64]]
    progress: Array


def model_folder(folder: Path) -> Path:
    """The folder of a reward model: `folder`, or the one in it where it is the `out` of a training, also LeRobot's.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder '{folder}': give that of a reward model, or with=decompose")
    for inner in ("model", "pretrained_model", "checkpoints/last/pretrained_model"):
        if (folder / inner).is_dir():
            return folder / inner
    return folder


def open_reader(folder: Path, data: EpisodeDataset) -> Reader:
    """Load a reward model, ours or LeRobot's.

    Args:
        folder: of the model.
        data: the dataset that it will read, whose statistics LeRobot's models take.

    Raises:
        UserError: the folder holds none.
    """
    from robolearn.rewards.lerobot_models.load import lerobot_kind, load_lerobot_model
    from robolearn.rewards.serving import load_estimator

    if lerobot_kind(folder) is not None:
        return _lerobot_reader(load_lerobot_model(folder, data.statistics))
    return _own_reader(load_estimator(folder))


def with_pictures(data: EpisodeDataset, reader: Reader) -> EpisodeDataset:
    """Return a dataset that has all channels that a model reads.

    Raises:
        UserError: it lacks a channel.
        SchemaError: a channel has other components than those that the model was trained on.
    """
    there = read_info(data.root)["features"]
    if missing := [key for key in reader.keys if key not in there]:
        raise UserError(f"{data.root} has no channel '{missing[0]}', which the model reads{nearest(missing[0], there)}")
    pictures = tuple(key for key in reader.keys if key not in data.channels)
    if pictures:
        size = _common_size([reader.schema[key].shape for key in pictures]) if reader.schema is not None else None
        data = EpisodeDataset.load(data.root, images=ImageOptions(pictures, size), progress=progress)
    if reader.schema is not None:
        found = Schema({key: data.schema[key] for key in reader.schema}, data.schema.fps)
        reader.schema.require_same(found, what=str(data.root))
    return data


def read_dataset(reader: Reader, data: EpisodeDataset, *, identity: dict[str, Any], kept: Path) -> Readings:
    """Read all episodes; shows a bar.

    Args:
        reader: the model.
        data: the dataset, with all channels that the model reads.
        identity: plain data that decides on the readings.
        kept: folder of the readings of single episodes. Those that a run of the same identity left there are taken. The
            caller removes it once what they are for is written.
    """
    if read_result(kept / "identity.json") != identity:
        shutil.rmtree(kept, ignore_errors=True)
        save_result(kept / "identity.json", identity)
    told = []
    with progress("read", data.num_episodes) as advance:
        for i in range(data.num_episodes):
            path = kept / f"episode-{i:06d}.npy"
            if not path.exists():
                reading = reader.read(_frames(data, reader.keys, i), data.tasks[i])
                with replacing(path) as temporary, temporary.open("wb") as file:
                    np.save(file, reading)
            told.append(np.load(path, allow_pickle=False))
            advance(1)
    return Readings([one[:, 0].astype(np.int64) for one in told], np.concatenate(told)[:, 1])


def _own_reader(estimator: TorchEstimator) -> Reader:
    def read(frames: Frames, instruction: str) -> Array:
        reading = estimator.episode(frames, instruction)
        return np.stack((reading.stages.argmax(-1).numpy(), reading.progress.double().numpy()), axis=1)

    schema = estimator.schema.select(estimator.schema.observation_keys)
    return Reader(schema.observation_keys, estimator.stage_names, schema, read)


def _lerobot_reader(estimator: LeRobotEstimator) -> Reader:
    def read(frames: Frames, instruction: str) -> Array:
        estimator.reset()
        length = len(frames[estimator.keys[0]])
        told = [estimator.update({key: v[t] for key, v in frames.items()}, instruction) for t in range(length)]
        return np.array([(one.stage, one.value) for one in told], np.float64)

    return Reader(estimator.keys, estimator.stage_names, None, read)


def _common_size(shapes: list[tuple[int, ...]]) -> tuple[int, int] | None:
    """Height and width of pictures; None where they differ, as they do in the dataset then."""
    sizes = {(shape[0], shape[1]) for shape in shapes}
    return sizes.pop() if len(sizes) == 1 else None


def _frames(data: EpisodeDataset, keys: tuple[str, ...], episode: int) -> Frames:
    """Frames [T, ...] of an episode in physical units."""
    a, b = data.starts[episode], data.ends[episode]
    pictures = {key: data.images[key].take(np.arange(a, b)) for key in keys if key not in data.channels}
    return {key: pictures[key] if key in pictures else data.channels[key][a:b] for key in keys}
