"""A LeRobot v3 dataset as it lies on disk: its metadata and where its files are. No channel is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robolearn.data import layout
from robolearn.data.episode_rows import RESERVED, Row
from robolearn.data.reading import episode_files, read_info, read_instructions
from robolearn.errors import UserError
from robolearn.schema import BOOKKEEPING, Schema

SUBTASKS = ("sparse_subtask_", "dense_subtask_")


@dataclass(frozen=True)
class RawDataset:
    """Metadata of a dataset.

    Attributes:
        root: the folder.
        info: content of `info.json`.
        own: content of `robolearn_schema.json`; None where another program wrote the dataset.
        episodes: one row per episode, in order, with every column that the dataset has.
        tasks: the instruction of each task index.
    """

    root: Path
    info: dict[str, Any]
    own: dict[str, Any] | None
    episodes: pa.Table
    tasks: tuple[str, ...]

    @classmethod
    def load(cls, root: Path) -> RawDataset:
        """Read the metadata.

        Raises:
            UserError: the folder is missing, is no LeRobot v3 dataset, or has no episodes.
        """
        root = Path(root)
        info = read_info(root)
        tables = [pq.read_table(file) for file in episode_files(root)]
        if not sum(len(table) for table in tables):
            raise UserError(f"the dataset {root} has zero episodes: collect some first")
        episodes = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
        return cls(root, info, read_own(root), episodes.sort_by("episode_index"), read_instructions(root))

    @cached_property
    def schema(self) -> Schema | None:
        """Channels with roles, units and bounds; None where another program wrote the dataset."""
        return None if self.own is None else Schema.from_dict(self.own)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The task's stages, in order; empty where nobody named them."""
        return tuple((self.own or {}).get("stage_names", ()))

    @property
    def fps(self) -> int:
        """Frames per second."""
        return int(self.info["fps"])

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """LeRobot's features of the channels, without its own bookkeeping columns."""
        return {key: feature for key, feature in self.info["features"].items() if key not in BOOKKEEPING}

    @property
    def num_episodes(self) -> int:
        """Episodes that the metadata lists."""
        return len(self.episodes)

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of `episodes` as dictionaries, without statistics."""
        return self.episodes.select([c for c in self.episodes.column_names if not c.startswith("stats/")]).to_pylist()

    @property
    def extras(self) -> tuple[str, ...]:
        """Columns that LeRobot does not know, e.g. "seed", "success"."""
        names = self.episodes.column_names
        return tuple(n for n in names if n not in RESERVED and "/" not in n and not n.startswith(SUBTASKS))

    def data_file(self, row: Row) -> Path:
        """Return the file that holds an episode's frames."""
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        return self.root / str(self.info.get("data_path") or layout.DATA_TEMPLATE).format(**place)

    def video_file(self, row: Row, key: str) -> Path:
        """Return the file that holds an episode's pictures of one camera."""
        place = {name: row[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
        return self.root / str(self.info["video_path"]).format(video_key=key, **place)


def read_own(root: Path) -> dict[str, Any] | None:
    """Read what `DatasetWriter` notes of channels and stages; None where another program wrote the dataset."""
    path = root / layout.OWN_SCHEMA
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def is_picture(feature: Mapping[str, Any]) -> bool:
    """Whether a channel of `info.json` is pictures."""
    return feature.get("dtype") in layout.PICTURE_TYPES


def is_numeric(feature: Mapping[str, Any]) -> bool:
    """Whether a channel of `info.json` is numbers along one axis."""
    dtype = str(feature["dtype"])
    if len(feature["shape"]) != 1 or dtype in (*layout.PICTURE_TYPES, "string", "language"):
        return False
    return np.dtype(dtype).kind in "biuf"


def picture_size(feature: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width in pixels; LeRobot allows the colours as first or as last axis."""
    first, second, third = (int(n) for n in feature["shape"])
    return (second, third) if first in (1, 3) and third not in (1, 3) else (first, second)
