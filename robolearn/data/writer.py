"""Write LeRobot v3 datasets with pyarrow, episode by episode; what was added survives a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robolearn.data import layout, stages
from robolearn.data.files import replacing, write_json
from robolearn.data.statistics import Statistics, aggregate_statistics, compute_statistics, to_json
from robolearn.errors import UserError
from robolearn.schema import Feature, Schema, SchemaError

Scalar = bool | int | float | str

_PLACE = (
    "episode_index",
    "tasks",
    "length",
    "dataset_from_index",
    "dataset_to_index",
    "data/chunk_index",
    "data/file_index",
    "meta/episodes/chunk_index",
    "meta/episodes/file_index",
)
_EXTRA_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
_WRITTEN = "bool, int8 to int64, uint8 to uint64, float32, float64"


class DatasetWriter:
    """Appends episodes to a dataset folder.

    The n-th data file and the n-th file of episode metadata hold the same episodes; both are rewritten whole when
    an episode is added, data first. The metadata is therefore the record of what is complete: reopening a folder
    drops data rows that it does not know, and goes on after the last episode.
    """

    def __init__(
        self,
        root: Path,
        schema: Schema,
        *,
        robot_type: str,
        stage_names: Sequence[str] = (),
        episodes_per_file: int = 16,
    ) -> None:
        """Create the dataset, or go on with the one that is there.

        Args:
            root: the dataset's folder.
            schema: channels of a frame; all are written, also privileged ones. `observation.stage` is added when
                there are stages.
            robot_type: name of the robot, e.g. "panda".
            stage_names: the task's stages, in order; empty when episodes carry no stage labels.
            episodes_per_file: adding an episode rewrites at most so many.

        Raises:
            UserError: a channel's dtype or shape cannot be written, or the folder holds another dataset.
        """
        self.root = Path(root)
        self.stage_names = tuple(stage_names)
        self.robot_type = robot_type
        features = {key: f for key, f in schema.features.items() if key != layout.STAGE}
        self._frame_schema = Schema(features, schema.fps)
        stage = {layout.STAGE: layout.STAGE_FEATURE} if self.stage_names else {}
        self.schema = Schema({**features, **stage}, schema.fps)
        for key, feature in self.schema.features.items():
            _require_writable(key, feature)
        self._per_file = episodes_per_file
        self._rows: list[dict[str, Any]] = []  # episode metadata, one dict per episode
        self._open: list[pa.Table] = []  # frames of the episodes in the last file
        self._tasks: list[str] = []
        self._extra_kinds: dict[str, type] = {}
        self._statistics: Statistics | None = None
        if (self.root / layout.INFO).exists():
            self._resume()
        else:
            write_json(self.root / layout.OWN_SCHEMA, {**self.schema.to_dict(), "stage_names": list(self.stage_names)})
        self._write_summary()

    @property
    def num_episodes(self) -> int:
        """Number of episodes that are on disk."""
        return len(self._rows)

    @property
    def num_frames(self) -> int:
        """Number of frames that are on disk."""
        return int(self._rows[-1]["dataset_to_index"]) if self._rows else 0

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
            frames: every channel of the schema, [T, *shape].
            task: the language instruction.
            stage: [T] stage of each frame, `len(stage_names)` where all are done.
            extra: scalars of this episode, e.g. seed, success; the same names and types in every episode.

        Raises:
            SchemaError: a channel is missing, extra or misshapen.
            UserError: no frames, a value that is not finite, labels or extras unlike the dataset's.
        """
        columns = self._checked(frames, stage)
        length = len(next(iter(columns.values())))
        self._check_extra(extra)
        new_task = task not in self._tasks
        if new_task:
            self._tasks.append(task)
        columns |= self._bookkeeping(length, self._tasks.index(task))
        statistics = compute_statistics(columns)
        row = self._place(length, task) | dict(extra) | _flatten(statistics)
        if stage is not None:
            row |= stages.columns(np.asarray(stage), self.stage_names)
        if len(self._open) == self._per_file:
            self._open = []
        self._open.append(self._table(columns))
        self._rows.append(row)
        if new_task:
            self._write_tasks()
        self._write_last_file()
        parts = [statistics] if self._statistics is None else [self._statistics, statistics]
        self._statistics = aggregate_statistics(parts)
        self._write_summary()

    def finalize(self) -> None:
        """Write what concerns the whole set: the stages' shares of time. The writer may be used further."""
        if not self.stage_names or not self._rows:
            return
        for mode in stages.MODES:
            proportions = stages.temporal_proportions(self._rows, self.stage_names)
            write_json(self.root / f"meta/temporal_proportions_{mode}.json", proportions)

    def _checked(self, frames: Mapping[str, NDArray[Any]], stage: NDArray[np.integer] | None) -> dict[str, Any]:
        self._frame_schema.validate(frames, lead=1)
        episode = self.num_episodes
        columns: dict[str, Any] = {
            key: np.asarray(frames[key]).astype(feature.dtype, casting="same_kind")
            for key, feature in self._frame_schema.features.items()
        }
        if (stage is None) == bool(self.stage_names):
            wanted = "needs" if self.stage_names else "cannot take"
            raise UserError(f"episode {episode} {wanted} stage labels: the dataset's stages are {self.stage_names}")
        if stage is not None:
            labels = np.asarray(stage)
            if labels.ndim != 1 or labels.min(initial=0) < 0 or labels.max(initial=0) > len(self.stage_names):
                raise UserError(f"episode {episode}: stage labels must be [T] in 0..{len(self.stage_names)}")
            columns[layout.STAGE] = labels.astype(np.int64)[:, None]
        lengths = {key: len(values) for key, values in columns.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise UserError(f"episode {episode}: every channel needs the same number of frames, at least 1: {lengths}")
        for key, values in columns.items():
            if not np.isfinite(values).all():
                raise UserError(f"channel '{key}' of episode {episode} holds NaN or infinity: find its source")
        return columns

    def _check_extra(self, extra: Mapping[str, Scalar]) -> None:
        kinds = {key: type(value) for key, value in extra.items()}
        if bad := [key for key, kind in kinds.items() if kind not in _EXTRA_TYPES]:
            raise UserError(f"episode scalar '{bad[0]}' is {kinds[bad[0]].__name__}; give bool, int, float or str")
        if not self._rows:
            if clash := [key for key in extra if key in _PLACE]:
                raise UserError(f"episode scalar '{clash[0]}' is the name of one of LeRobot's columns: rename it")
            self._extra_kinds = kinds
        if kinds != self._extra_kinds:
            raise UserError(f"episode scalars differ within the dataset: {kinds} here, {self._extra_kinds} before")

    def _bookkeeping(self, length: int, task_index: int) -> dict[str, NDArray[Any]]:
        step = np.arange(length)
        return {
            "timestamp": (step / self.schema.fps).astype(np.float32)[:, None],
            "frame_index": step[:, None],
            "episode_index": np.full((length, 1), self.num_episodes),
            "index": step[:, None] + self.num_frames,
            "task_index": np.full((length, 1), task_index),
        }

    def _place(self, length: int, task: str) -> dict[str, Any]:
        last = self._file_number(self._rows[-1]) if self._rows else 0
        number = last + (len(self._open) == self._per_file)
        chunk, file = divmod(number, layout.CHUNK_SIZE)
        start = self.num_frames
        values = (self.num_episodes, [task], length, start, start + length, chunk, file, chunk, file)
        return dict(zip(_PLACE, values, strict=True))

    def _table(self, columns: Mapping[str, NDArray[Any]]) -> pa.Table:
        # LeRobot keeps one-component channels as scalars and longer ones as lists of fixed size
        arrays = {
            key: pa.array(values[:, 0])
            if values.shape[1] == 1
            else pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
            for key, values in columns.items()
        }
        return pa.table(arrays)

    @staticmethod
    def _file_number(row: Mapping[str, Any]) -> int:
        return int(row["data/chunk_index"]) * layout.CHUNK_SIZE + int(row["data/file_index"])

    def _write_last_file(self) -> None:
        number = self._file_number(self._rows[-1])
        with (
            replacing(layout.data_file(self.root, number)) as path,
            pq.ParquetWriter(path, self._open[0].schema) as writer,
        ):
            for table in self._open:  # one row group per episode: any episode is read alone
                writer.write_table(table)
        rows = self._rows[-len(self._open) :]
        with replacing(layout.episodes_file(self.root, number)) as path:
            pq.write_table(pa.Table.from_pylist(rows, schema=_episode_schema(rows[0])), path)

    def _write_tasks(self) -> None:
        import pandas as pd  # LeRobot reads the index back, which only pandas' own metadata marks

        tasks = pd.DataFrame({"task_index": range(len(self._tasks))}, index=pd.Index(self._tasks, name="task"))
        with replacing(self.root / layout.TASKS) as path:
            tasks.to_parquet(path)

    def _write_summary(self) -> None:
        if self._statistics is not None:
            write_json(self.root / layout.STATISTICS, to_json(self._statistics))
        info = layout.info(
            fps=self.schema.fps,
            robot_type=self.robot_type,
            features=self.schema.to_lerobot(),
            episodes=self.num_episodes,
            frames=self.num_frames,
            tasks=len(self._tasks),
        )
        write_json(self.root / layout.INFO, info)

    def _resume(self) -> None:
        self._require_same_dataset()
        files = sorted(self.root.glob("meta/episodes/*/*.parquet"))
        self._rows = [row for file in files for row in pq.read_table(file).to_pylist()]
        known = {layout.data_file(self.root, self._file_number(row)) for row in self._rows}
        for file in self.root.glob("data/*/*.parquet"):
            if file not in known:
                file.unlink()
        for file in self.root.rglob(".*.tmp"):
            file.unlink()
        if not self._rows:
            return
        tasks = pq.read_table(self.root / layout.TASKS).to_pydict()
        self._tasks = [task for _, task in sorted(zip(tasks["task_index"], tasks["task"], strict=True))]
        self._statistics = aggregate_statistics([_unflatten(row) for row in self._rows])
        self._extra_kinds = {
            key: type(value)
            for key, value in self._rows[0].items()
            if key not in _PLACE and not isinstance(value, list)
        }
        self._reopen_last_file()

    def _reopen_last_file(self) -> None:
        number = self._file_number(self._rows[-1])
        rows = [row for row in self._rows if self._file_number(row) == number]
        path = layout.data_file(self.root, number)
        first, last = rows[0]["dataset_from_index"], rows[-1]["dataset_to_index"]
        table = pq.read_table(path) if path.exists() else None
        if table is None or len(table) < last - first:
            raise UserError(
                f"{path} lacks frames of episodes that the metadata lists: delete {self.root}, collect anew"
            )
        self._open = [table.slice(row["dataset_from_index"] - first, row["length"]) for row in rows]
        if len(table) > last - first:
            self._write_last_file()

    def _require_same_dataset(self) -> None:
        path = self.root / layout.OWN_SCHEMA
        if not path.exists():
            raise UserError(f"{self.root} holds a dataset that robolearn did not write: give another folder")
        there, info = json.loads(path.read_text()), json.loads((self.root / layout.INFO).read_text())
        advice = f"give another folder than {self.root}"
        try:
            self.schema.require_same(Schema.from_dict(there), what="the dataset on disk")
        except SchemaError as error:
            raise UserError(f"{error}: {advice}") from error
        for key, feature in Schema.from_dict(there).features.items():
            if feature != self.schema[key]:
                raise UserError(f"channel '{key}' has other bounds or another role in the dataset on disk: {advice}")
        if tuple(there["stage_names"]) != self.stage_names:
            raise UserError(f"the dataset on disk has the stages {there['stage_names']}: {advice}")
        if info["robot_type"] != self.robot_type:
            raise UserError(
                f"the dataset on disk is of robot '{info['robot_type']}', not '{self.robot_type}': {advice}"
            )


def _require_writable(key: str, feature: Feature) -> None:
    numeric = feature.dtype not in ("image", "video") and np.dtype(feature.dtype).kind in "biuf"
    if not numeric or feature.dtype == "float16":
        raise UserError(f"channel '{key}' is {feature.dtype}; datasets are written with channels of {_WRITTEN}")
    if len(feature.shape) != 1:
        raise UserError(f"channel '{key}' has shape {feature.shape}; datasets are written with channels of one axis")


def _flatten(statistics: Statistics) -> dict[str, list[Any]]:
    return {f"stats/{key}/{name}": v.tolist() for key, stats in statistics.items() for name, v in stats.items()}


def _unflatten(row: Mapping[str, Any]) -> Statistics:
    result: Statistics = {}
    for column, value in row.items():
        if column.startswith("stats/"):
            _, key, name = column.split("/")
            result.setdefault(key, {})[name] = np.array(value)
    return result


def _column_type(column: str, value: Any) -> pa.DataType:
    # given outright: an episode without segments must not make a column of nulls
    if column == "tasks" or column.endswith("_subtask_names"):
        return pa.list_(pa.string())
    if column.startswith("stats/"):
        return pa.list_(pa.int64() if column.endswith("/count") else pa.float64())
    if isinstance(value, list):
        return pa.list_(pa.int64())
    return _EXTRA_TYPES[type(value)]


def _episode_schema(row: Mapping[str, Any]) -> pa.Schema:
    return pa.schema([(column, _column_type(column, value)) for column, value in row.items()])
