"""Write LeRobot v3 datasets with pyarrow and PyAV, episode by episode; what was added survives a kill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robolearn.data import layout, stages
from robolearn.data.episode_checks import checked_channels, checked_stages, require_scalars, require_writable
from robolearn.data.episode_rows import (
    Row,
    Scalar,
    extra_kinds,
    file_number,
    file_place,
    read_rows,
    statistics_columns,
    statistics_of,
)
from robolearn.data.existing import own_schema, require_same_dataset, tidy
from robolearn.data.files import replacing, write_json
from robolearn.data.frame_table import frame_table
from robolearn.data.instructions import write_instructions
from robolearn.data.language import language_columns
from robolearn.data.statistics import Statistics, episode_statistics
from robolearn.data.summary import Summary, lerobot_features, picture_keys
from robolearn.data.tail import Tail
from robolearn.data.video import write_video
from robolearn.errors import UserError
from robolearn.schema import Schema


class DatasetWriter:
    """Appends episodes to a dataset folder.

    An episode's videos are written first, then its data, then its metadata, which is the record of what is complete:
    reopening a folder drops videos and data that the metadata does not know, and goes on after the last episode.
    """

    def __init__(
        self,
        root: Path,
        schema: Schema,
        *,
        robot_type: str,
        stage_names: Sequence[str] = (),
        stage_sentences: Sequence[str] = (),
        video: bool = True,
        episodes_per_file: int = 16,
    ) -> None:
        """Create the dataset, or go on with the one that is there.

        Args:
            root: the dataset's folder.
            schema: channels of a frame; all are written, also privileged ones. `observation.stage` is added when
                there are stages. RGB pictures are channels of dtype "image" or "video", however they are stored; those
                of depth or segmentation have a dtype of numbers and are stored as such, without loss.
            robot_type: name of the robot, e.g. "panda".
            stage_names: the task's stages, in order; empty when episodes carry no stage labels.
            stage_sentences: what the robot does in each stage. With them, frames also get LeRobot's language columns;
                a `DataLoader` then needs `lerobot.utils.collate.lerobot_collate_fn`.
            video: store RGB pictures as H.264 videos, one per episode and channel; else as PNG in the data files,
                without loss, but several times as large.
            episodes_per_file: data files and files of metadata hold at most so many.

        Raises:
            UserError: a channel cannot be written, stages and sentences differ in number, or the folder holds another
                dataset.
        """
        self.root = Path(root)
        self.stage_names, self.stage_sentences = tuple(stage_names), tuple(stage_sentences)
        self.robot_type = robot_type
        features = {key: f for key, f in schema.features.items() if key != layout.STAGE}
        self._given = Schema(features, schema.fps)
        stage = {layout.STAGE: layout.STAGE_FEATURE} if self.stage_names else {}
        self.schema = Schema({**features, **stage}, schema.fps)
        require_writable(self.schema, video=video)
        if self.stage_sentences and len(self.stage_sentences) != len(self.stage_names):
            raise UserError(
                f"{len(self.stage_sentences)} sentences for the stages {self.stage_names}: give each its own"
            )
        self._pictures = picture_keys(self.schema)
        self._videos = self._pictures if video else ()
        self._lengths: list[int] = []
        self._segments: list[Row] = []  # annotation columns of the episodes
        self._tasks: dict[str, int] = {}
        self._extra_kinds: dict[str, type] | None = None
        statistics = self._open(lerobot_features(self.schema, video=video, spoken=bool(self.stage_sentences)))
        self._tail = Tail(self.root, episodes_per_file=episodes_per_file)
        self._num_frames = sum(self._lengths)
        self._summary.create(frames=self._num_frames, tasks=len(self._tasks), statistics=statistics)

    @property
    def num_episodes(self) -> int:
        """Number of episodes that are on disk."""
        return len(self._lengths)

    @property
    def num_frames(self) -> int:
        """Number of frames that are on disk."""
        return self._num_frames

    def add_episode(
        self,
        frames: Mapping[str, NDArray[Any]],
        *,
        task: str,
        stage: NDArray[np.integer] | None = None,
        **extra: Scalar,
    ) -> None:
        """Append one episode; when this returns, it is on disk.

        Args:
            frames: every channel of the schema, [T, *shape]; RGB pictures as uint8 [T, height, width, 3].
            task: the language instruction.
            stage: [T] stage of each frame, `len(stage_names)` where all are done.
            extra: scalars of this episode, e.g. seed, success; the same names and types in every episode.

        Raises:
            SchemaError: a channel is missing, extra or misshapen.
            UserError: no frames, a value that is not finite, labels or extras unlike the dataset's, a full disk.
        """
        channels = checked_channels(frames, self._given, episode=self.num_episodes)
        length = len(next(iter(channels.values())))
        labels = checked_stages(stage, self.stage_names, length=length, episode=self.num_episodes)
        require_scalars(extra, self._extra_kinds)
        self._number_task(task)
        if labels is not None:
            channels[layout.STAGE] = labels[:, None]
        channels |= self._bookkeeping(length, self._tasks[task])
        statistics = episode_statistics(channels, pictures=self._pictures)
        segments = {} if labels is None else stages.columns(labels, self.stage_names)
        row = self._place(length, task) | extra | segments | statistics_columns(statistics)
        self._write_videos(channels)
        self._tail.add(row, self._table(channels, labels))
        self._lengths.append(length)
        self._segments.append(segments)
        self._num_frames += length
        self._extra_kinds = {key: type(value) for key, value in extra.items()}
        self._summary.add(statistics, frames=self._num_frames, tasks=len(self._tasks))

    def finalize(self) -> None:
        """Write what concerns the whole set: statistics, the stages' shares of time. The writer may be used further."""
        self._tail.merge()
        self._summary.write_statistics()
        if not self.stage_names or not self._segments:
            return
        for mode in stages.MODES:
            proportions = stages.temporal_proportions(self._segments, self.stage_names)
            write_json(self.root / f"meta/temporal_proportions_{mode}.json", proportions)

    def _number_task(self, task: str) -> None:
        """Give a new instruction its number, on disk first."""
        if task in self._tasks:
            return
        write_instructions(self.root, [*self._tasks, task])
        self._tasks[task] = len(self._tasks)

    def _bookkeeping(self, length: int, task_index: int) -> dict[str, NDArray[Any]]:
        step = np.arange(length)
        return {
            "timestamp": (step / self.schema.fps).astype(np.float32)[:, None],
            "frame_index": step[:, None],
            "episode_index": np.full((length, 1), self.num_episodes),
            "index": step[:, None] + self._num_frames,
            "task_index": np.full((length, 1), task_index),
        }

    def _place(self, length: int, task: str) -> Row:
        row: Row = {
            "episode_index": self.num_episodes,
            "tasks": [task],
            "length": length,
            "dataset_from_index": self._num_frames,
            "dataset_to_index": self._num_frames + length,
            **self._tail.place(),
        }
        for key in self._videos:  # each in a file of its own
            span = {"from_timestamp": 0.0, "to_timestamp": length / self.schema.fps}
            row |= file_place(f"videos/{key}", self.num_episodes)
            row |= {f"videos/{key}/{name}": value for name, value in span.items()}
        return row

    def _write_videos(self, channels: Mapping[str, NDArray[Any]]) -> None:
        for key in self._videos:
            with replacing(layout.video_file(self.root, key, self.num_episodes)) as path:
                write_video(path, channels[key], fps=self.schema.fps)

    def _table(self, channels: Mapping[str, NDArray[Any]], labels: NDArray[np.int64] | None) -> pa.Table:
        stored = {key: values for key, values in channels.items() if key not in self._videos}
        table = frame_table(stored, pictures=self._pictures)
        if self.stage_sentences and labels is not None:
            spoken = language_columns(labels, self.stage_sentences, timestamp=channels["timestamp"][:, 0])
            for key, column in spoken.items():
                table = table.append_column(key, column)
        return table

    def _open(self, features: Mapping[str, Any]) -> list[Statistics]:
        """Take over the dataset in the folder, if there is one; returns the statistics of its episodes."""
        self._summary = Summary(
            self.root, fps=self.schema.fps, robot_type=self.robot_type, features=features, video=bool(self._videos)
        )
        own = {"stage_names": self.stage_names, "stage_sentences": self.stage_sentences}
        if not (self.root / layout.INFO).exists():
            write_json(self.root / layout.OWN_SCHEMA, own_schema(self.schema, **own))
            return []
        require_same_dataset(self.root, self.schema, robot_type=self.robot_type, features=features, **own)
        rows = [row for path in sorted(self.root.glob("meta/episodes/*/*.parquet")) for row in read_rows(path)]
        known = {layout.data_file(self.root, file_number(row, "data")) for row in rows}
        known |= {layout.video_file(self.root, key, episode) for key in self._videos for episode in range(len(rows))}
        tidy(self.root, known=known)
        if rows:
            tasks = pq.read_table(self.root / layout.TASKS).to_pydict()
            self._tasks = dict(sorted(zip(tasks["task"], tasks["task_index"], strict=True), key=lambda item: item[1]))
            self._extra_kinds = extra_kinds(rows[0])
        self._lengths = [row["length"] for row in rows]
        self._segments = [{key: value for key, value in row.items() if "_subtask_" in key} for row in rows]
        return [statistics_of(row) for row in rows]
