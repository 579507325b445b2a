"""Copy episodes of LeRobot v3 datasets into a new dataset; no picture is decoded, so none loses quality."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from robolearn.data import layout, stages
from robolearn.data.copying_videos import VideoCopier
from robolearn.data.episode_rows import Row, file_place, statistics_columns, statistics_of
from robolearn.data.files import write_json
from robolearn.data.frame_table import write_frames
from robolearn.data.instructions import write_instructions
from robolearn.data.raw import RawDataset, is_numeric
from robolearn.data.reading import flat
from robolearn.data.statistics import Statistics, aggregate_statistics, channel_statistics, to_json
from robolearn.errors import UserError

EPISODES_PER_FILE = 16
FILE_BYTES = 100 << 20  # after which a data file is full


@dataclass(frozen=True)
class Selection:
    """Episodes of a dataset, by their numbers.

    Attributes:
        source: the dataset; what its metadata says is what the copy's will say.
        episodes: the numbers.
        change: makes of an episode's frames, as they lie in the files, those of the copy.
    """

    source: RawDataset
    episodes: Sequence[int]
    change: Callable[[int, pa.Table], pa.Table] = lambda episode, table: table


def copy_episodes(
    selections: Sequence[Selection],
    out: Path,
    *,
    rename: Mapping[str, str] | None = None,
    advance: Callable[[int], object] = lambda n: None,
    complete: Callable[[Path], object] = lambda root: None,
) -> None:
    """Write a new dataset of these episodes, in this order; a killed copy leaves nothing at `out`.

    Numbers of episodes, frames, instructions and files are given anew, and statistics of numeric channels computed
    anew. Every other column stays as it is.

    Args:
        selections: of datasets that `robolearn.data.merge.conflicts` finds nothing wrong with.
        out: the new folder.
        rename: new names of channels by their old ones.
        advance: told of every episode copied.
        complete: given the folder of the finished copy before it takes its place, for files that belong to it.

    Raises:
        UserError: `out` exists, no episode is selected, or frames are missing.
    """
    require_new(out)
    if not any(len(selection.episodes) for selection in selections):
        raise UserError("no episode is selected: loosen the selection")
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    copier = _Copier(temporary, selections, rename or {})
    try:
        for selection in selections:
            videos = VideoCopier(selection.source, selection.episodes, temporary, copier.rename, copier.video_numbers)
            for episode in selection.episodes:
                copier.add(selection, int(episode), videos)
                advance(1)
        copier.finish()
        complete(temporary)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_new(out: Path) -> None:
    """Check that nothing is there yet.

    Raises:
        UserError: something is.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already: give another out=FOLDER, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)


class _Copier:
    """Collects episodes into files: the n-th data file and the n-th file of metadata hold the same ones."""

    def __init__(self, root: Path, selections: Sequence[Selection], rename: Mapping[str, str]) -> None:
        self.root, self.rename = root, dict(rename)
        self.video_numbers: dict[str, int] = {}  # files written so far, by camera
        self._first = selections[0].source
        self._row_schema = _row_schema([selection.source for selection in selections], self.rename)
        self._tasks: dict[str, int] = {}
        self._rows: list[Row] = []  # of all episodes, without statistics
        self._statistics: list[Statistics] = []
        self._open: list[pa.Table] = []
        self._number = 0
        self._frames = 0
        self._read: tuple[Path, pa.Table] | None = None

    def add(self, selection: Selection, episode: int, videos: VideoCopier) -> None:
        """Take in an episode; files are written when they are full."""
        source = selection.source
        old = source.rows[episode]
        table = selection.change(episode, self._frames_of(source, old))
        place = {
            "episode_index": len(self._rows),
            "length": len(table),
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + len(table),
            **file_place("data", self._number),
            **file_place("meta/episodes", self._number),
        }
        table = self._renumber(source, table, len(self._rows)).rename_columns(
            [self.rename.get(name, name) for name in table.column_names]
        )
        statistics = self._statistics_of(source, episode, table)
        row = {_rename_column(name, self.rename): value for name, value in old.items()} | place | videos.place(episode)
        self._rows.append(row)
        self._statistics.append(statistics)
        self._open.append(table if not self._open else _like(table, self._open[0].schema, source.root))
        self._frames += len(table)
        if len(self._open) == EPISODES_PER_FILE or sum(t.nbytes for t in self._open) > FILE_BYTES:
            self._flush()

    def finish(self) -> None:
        """Write what is left and what concerns the whole set."""
        self._flush()
        write_instructions(self.root, list(self._tasks))
        write_json(self.root / layout.STATISTICS, to_json(aggregate_statistics(self._statistics)))
        source = self._first
        features = {self.rename.get(key, key): feature for key, feature in source.info["features"].items()}
        count = len(self._rows)
        info = source.info | {
            "features": features,
            "total_episodes": count,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.CHUNK_SIZE,
            "data_path": layout.DATA_TEMPLATE,
            "splits": {"train": f"0:{count}"},
        }
        if source.own is not None:
            channels = {self.rename.get(key, key): channel for key, channel in source.own["features"].items()}
            write_json(self.root / layout.OWN_SCHEMA, source.own | {"features": channels})
        if source.stage_names:
            for mode in stages.MODES:
                shares = stages.temporal_proportions(self._rows, source.stage_names)
                write_json(self.root / f"meta/temporal_proportions_{mode}.json", shares)
        write_json(self.root / layout.INFO, info)

    def _frames_of(self, source: RawDataset, row: Row) -> pa.Table:
        path = source.data_file(row)
        if self._read is None or self._read[0] != path:
            if not path.exists():
                raise UserError(f"{path} is missing: copy it anew, or see what `robolearn data check` says")
            self._read = path, pq.read_table(path).replace_schema_metadata(None)
        table = self._read[1]
        table = table.filter(pc.equal(table["episode_index"], row["episode_index"]))
        if len(table) != row["length"]:
            raise UserError(
                f"{path} holds {len(table)} of the {row['length']} frames of episode {row['episode_index']}: "
                "see what `robolearn data check` says, and leave it out"
            )
        return table

    def _renumber(self, source: RawDataset, table: pa.Table, episode: int) -> pa.Table:
        used, places = np.unique(table["task_index"].to_numpy(), return_inverse=True)
        for index in used:
            if not 0 <= index < len(source.tasks):
                raise UserError(f"{source.root} has no instruction {index}: see what `robolearn data check` says")
        numbers = [self._tasks.setdefault(source.tasks[index], len(self._tasks)) for index in used]
        new = {
            "task_index": np.array(numbers)[places],
            "episode_index": np.full(len(table), episode),
            "index": self._frames + np.arange(len(table)),
        }
        for name, values in new.items():
            table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.int64()))
        return table

    def _statistics_of(self, source: RawDataset, episode: int, table: pa.Table) -> Statistics:
        """Of numbers from the frames; of pictures as the source has them."""
        known = statistics_of(source.episodes.slice(episode, 1).to_pylist()[0])
        result: Statistics = {}
        for key, feature in source.info["features"].items():
            name = self.rename.get(key, key)
            if is_numeric(feature):
                result[name] = channel_statistics(flat(table[name]).reshape(len(table), -1))
            elif key in known:
                result[name] = known[key]
        return result

    def _flush(self) -> None:
        if not self._open:
            return
        path = layout.data_file(self.root, self._number)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_frames(path, self._open)
        path = layout.episodes_file(self.root, self._number)
        path.parent.mkdir(parents=True, exist_ok=True)
        count = len(self._open)
        rows = pa.Table.from_pylist(self._rows[-count:], schema=self._row_schema)
        statistics = pa.Table.from_pylist([statistics_columns(part) for part in self._statistics[-count:]])
        for name in statistics.column_names:
            rows = rows.append_column(name, statistics[name])
        pq.write_table(rows, path)
        self._open = []
        self._number += 1


def _rename_column(column: str, names: Mapping[str, str]) -> str:
    """Rename the channel in a column of episode metadata, e.g. "stats/action/mean"."""
    kind, *rest = column.split("/")
    if kind not in ("stats", "videos") or len(rest) != 2:
        return column
    return f"{kind}/{names.get(rest[0], rest[0])}/{rest[1]}"


def _row_schema(sources: Sequence[RawDataset], names: Mapping[str, str]) -> pa.Schema:
    """Types of the columns of episode metadata, statistics left out."""
    whole = pa.unify_schemas([source.episodes.schema for source in sources], promote_options="permissive")
    return pa.schema({_rename_column(f.name, names): f.type for f in whole if not f.name.startswith("stats/")})


def _like(table: pa.Table, schema: pa.Schema, root: Path) -> pa.Table:
    """Give a table the columns and types of another."""
    if set(table.column_names) != set(schema.names):
        odd = sorted(set(table.column_names) ^ set(schema.names))[0]
        raise UserError(f"the data files of {root} and of the other dataset differ in the column '{odd}'")
    try:
        return table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise UserError(
            f"the data files of {root} hold other types than those of the other dataset: {error}"
        ) from error
