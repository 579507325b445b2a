"""The low-dimensional channels of a LeRobot v3 dataset in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robolearn.data import layout
from robolearn.data.inferred_schema import infer_schema, with_action_bounds
from robolearn.data.statistics import Statistics, compute_statistics
from robolearn.data.windows import Windows
from robolearn.errors import UserError
from robolearn.normalize import Normalizer
from robolearn.schema import Schema


@dataclass(frozen=True)
class EpisodeDataset:
    """Episodes one after another.

    Attributes:
        root: the dataset's folder.
        schema: the channels held, with roles, units and bounds.
        stage_names: the task's stages, in order; empty where the dataset has no labels.
        channels: float32 arrays [frames, n] by channel.
        starts: [episodes] first frame of each episode.
        ends: [episodes] one past the last frame.
        tasks: the language instruction of each episode.
        columns: further values per episode, e.g. "seed", "success".
    """

    root: Path
    schema: Schema
    stage_names: tuple[str, ...]
    channels: dict[str, NDArray[np.float32]]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    tasks: tuple[str, ...]
    columns: dict[str, list[Any]]

    @classmethod
    def load(cls, root: Path) -> Self:
        """Read a dataset; image and video channels are left out.

        A dataset of another writer has no units ("unknown") and no bounds; the action's are then taken from the data.

        Raises:
            UserError: the folder is missing, is no LeRobot v3 dataset, has no episodes, lacks frames, or holds a NaN.
        """
        root = Path(root)
        info = _read_info(root)
        episodes = _read_episodes(root)
        starts = np.array(episodes["dataset_from_index"], np.int64)
        ends = np.array(episodes["dataset_to_index"], np.int64)
        own = root / layout.OWN_SCHEMA
        schema = Schema.load(own) if own.exists() else infer_schema(info["features"], fps=info["fps"])
        stage_names = json.loads(own.read_text())["stage_names"] if own.exists() else ()
        channels = _read_channels(root, schema, int(ends[-1]))
        _require_finite(channels, ends)
        reserved = ("tasks", "length", "dataset_", "data/", "meta/", "stats/", "videos/")
        return cls(
            root=root,
            schema=with_action_bounds(schema, channels["action"]),
            stage_names=tuple(stage_names),
            channels=channels,
            starts=starts,
            ends=ends,
            tasks=tuple(tasks[0] for tasks in episodes["tasks"]),
            columns={key: values for key, values in episodes.items() if not key.startswith(reserved)},
        )

    @property
    def num_episodes(self) -> int:
        """Number of episodes."""
        return len(self.starts)

    @property
    def num_frames(self) -> int:
        """Number of frames over all episodes."""
        return int((self.ends - self.starts).sum())

    @cached_property
    def statistics(self) -> Statistics:
        """LeRobot-style statistics of every channel over all frames."""
        return compute_statistics(self.channels)

    def episode(self, index: int) -> dict[str, NDArray[np.float32]]:
        """Return the channels of one episode, [T, n] each."""
        span = slice(self.starts[index], self.ends[index])
        return {key: values[span] for key, values in self.channels.items()}

    def select(self, episodes: Sequence[int]) -> Self:
        """Return a dataset of these episodes only, in this order.

        Raises:
            UserError: no episode is left.
        """
        if len(episodes) == 0:
            raise UserError(f"no episode of {self.root} is selected: collect more episodes or loosen the selection")
        frames = np.concatenate([np.arange(self.starts[i], self.ends[i]) for i in episodes])
        lengths = np.array([self.ends[i] - self.starts[i] for i in episodes])
        ends = np.cumsum(lengths)
        return replace(
            self,
            channels={key: values[frames] for key, values in self.channels.items()},
            starts=ends - lengths,
            ends=ends,
            tasks=tuple(self.tasks[i] for i in episodes),
            columns={key: [values[i] for i in episodes] for key, values in self.columns.items()},
        )

    def windows(self, n_obs_steps: int, horizon: int, *, normalizer: Normalizer | None = None) -> Windows:
        """Return the training windows around every frame, over the observation channels and the action.

        Args:
            n_obs_steps: frames of history, the current one included.
            horizon: actions from the current one on.
            normalizer: applied to all frames at once, so that batches cost nothing more.
        """
        keys = (*self.schema.observation_keys, "action")
        chosen = {key: self.channels[key] for key in keys}
        if normalizer is not None:
            chosen = {key: normalizer[key](values) for key, values in chosen.items()}
        return Windows(chosen, starts=self.starts, ends=self.ends, n_obs_steps=n_obs_steps, horizon=horizon)


def _read_info(root: Path) -> dict[str, Any]:
    if not root.is_dir():
        raise UserError(f"there is no dataset folder {root}: check the path, or collect one with `robolearn collect`")
    path = root / layout.INFO
    if not path.exists():
        raise UserError(f"{root} is not a LeRobot dataset, for it has no {layout.INFO}: give the dataset's own folder")
    info: dict[str, Any] = json.loads(path.read_text())
    version = str(info.get("codebase_version"))
    if not version.startswith("v3"):
        raise UserError(f"{root} is a LeRobot dataset of version {version}: convert it to v3.0 with LeRobot first")
    return info


def _read_episodes(root: Path) -> dict[str, list[Any]]:
    files = sorted(root.glob("meta/episodes/*/*.parquet"))
    # the shape of statistics differs between channels and is not needed here
    names = [[n for n in pq.read_schema(file).names if not n.startswith("stats/")] for file in files]
    tables = [pq.read_table(file, columns=columns) for file, columns in zip(files, names, strict=True)]
    if not tables or not sum(len(table) for table in tables):
        raise UserError(f"the dataset {root} has zero episodes: collect some first")
    episodes: dict[str, list[Any]] = pa.concat_tables(tables, promote_options="permissive").to_pydict()
    return episodes


def _read_channels(root: Path, schema: Schema, num_frames: int) -> dict[str, NDArray[np.float32]]:
    files = sorted(root.glob("data/*/*.parquet"))
    tables = [pq.read_table(file, columns=[*schema, "index"]) for file in files]
    found = sum(len(table) for table in tables)
    # more frames than the metadata lists are what a killed writer left
    if found < num_frames:
        raise UserError(f"the dataset {root} lacks {num_frames - found} of its {num_frames} frames: copy data/ anew")
    table = pa.concat_tables(tables).slice(0, num_frames)
    if not np.array_equal(table["index"].to_numpy(), np.arange(num_frames)):
        raise UserError(
            f"the data files of {root} are not in the order of their `index` column: write the dataset anew"
        )
    return {key: _to_array(table[key], *feature.shape) for key, feature in schema.features.items()}


def _to_array(column: pa.ChunkedArray, width: int) -> NDArray[np.float32]:
    array = column.combine_chunks()
    while isinstance(array, pa.FixedSizeListArray | pa.ListArray):
        array = array.flatten()
    return array.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)


def _require_finite(channels: Mapping[str, NDArray[np.float32]], ends: NDArray[np.int64]) -> None:
    for key, values in channels.items():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if bad.size:
            episode = int(np.searchsorted(ends, bad[0], side="right"))
            raise UserError(
                f"channel '{key}' holds NaN or infinity in episode {episode}: remove that episode or record it anew"
            )
