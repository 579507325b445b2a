"""Metadata of episodes: what stands in LeRobot's `meta/episodes` files, one row per episode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robolearn.data import layout
from robolearn.data.statistics import Statistics, to_json

Row = dict[str, Any]
Scalar = bool | int | float | str

SCALAR_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
RESERVED = ("episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index")


def file_place(folder: str, number: int) -> Row:
    """Return where something is: in the n-th file of `folder`."""
    chunk, file = divmod(number, layout.CHUNK_SIZE)
    return {f"{folder}/chunk_index": chunk, f"{folder}/file_index": file}


def file_number(row: Row, folder: str) -> int:
    """Return what `file_place` was given."""
    return int(row[f"{folder}/chunk_index"]) * layout.CHUNK_SIZE + int(row[f"{folder}/file_index"])


def statistics_columns(statistics: Statistics) -> Row:
    """Return an episode's statistics in columns `stats/<channel>/<name>`."""
    return {f"stats/{key}/{name}": v for key, stats in to_json(statistics).items() for name, v in stats.items()}


def statistics_of(row: Row) -> Statistics:
    """Return what `statistics_columns` was given."""
    result: Statistics = {}
    for column, value in row.items():
        if column.startswith("stats/"):
            _, key, name = column.split("/")
            result.setdefault(key, {})[name] = np.array(value)
    return result


def extra_kinds(row: Row) -> dict[str, type]:
    """Return the names and types of the scalars that the user gave with an episode."""
    return {
        name: type(value)
        for name, value in row.items()
        if name not in RESERVED and "/" not in name and not isinstance(value, list)
    }


def read_rows(path: Path) -> list[Row]:
    """Read a file of metadata."""
    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write a file of metadata; the first row decides on the columns' types."""
    fields = [(column, column_type(column, value)) for column, value in rows[0].items()]
    table = pa.Table.from_struct_array(pa.array(rows, pa.struct(fields)))
    pq.write_table(table, path, use_dictionary=False, write_statistics=False)


def column_type(column: str, value: Any) -> pa.DataType:
    """Return the type of a column with values like this one; a list may be empty here and full in other rows."""
    if column == "tasks" or column.endswith("_subtask_names"):
        return pa.list_(pa.string())
    if column.startswith("stats/"):
        return _nested(pa.int64() if column.endswith("/count") else pa.float64(), value)
    if isinstance(value, list):
        return pa.list_(pa.int64())
    return SCALAR_TYPES[type(value)]


def _nested(kind: pa.DataType, value: Any) -> pa.DataType:
    return pa.list_(_nested(kind, value[0])) if isinstance(value, list) else kind
