"""Read the files of a LeRobot v3 dataset."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robolearn.data import layout
from robolearn.errors import UserError

Columns = dict[str, list[Any]]


def read_info(root: Path) -> dict[str, Any]:
    """Return the content of `info.json`.

    Raises:
        UserError: the folder is missing or holds no LeRobot v3 dataset.
    """
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


def episode_files(root: Path) -> list[Path]:
    """Return the files of episode metadata, in order."""
    return sorted(root.glob("meta/episodes/*/*.parquet"))


def data_files(root: Path) -> list[Path]:
    """Return the files of frames, in order."""
    return sorted(root.glob("data/*/*.parquet"))


def read_episodes(root: Path) -> Columns:
    """Return the metadata columns of all episodes, without statistics.

    Raises:
        UserError: there is no episode.
    """
    files = episode_files(root)
    # the shape of statistics differs between channels and is not needed here
    names = [[n for n in pq.read_schema(file).names if not n.startswith("stats/")] for file in files]
    tables = [pq.read_table(file, columns=columns) for file, columns in zip(files, names, strict=True)]
    if not tables or not sum(len(table) for table in tables):
        raise UserError(f"the dataset {root} has zero episodes: collect some first")
    episodes: Columns = pa.concat_tables(tables, promote_options="permissive").to_pydict()
    return episodes


def read_instructions(root: Path) -> tuple[str, ...]:
    """Return the dataset's instructions; a frame's `task_index` is the place in them.

    Raises:
        UserError: the file is missing.
    """
    path = root / layout.TASKS
    if not path.exists():
        raise UserError(f"the dataset {root} lacks {layout.TASKS}: copy meta/ anew")
    table = pq.read_table(path).to_pydict()
    (names,) = (values for key, values in table.items() if key != "task_index")  # pandas may have left it unnamed
    return tuple(str(name) for _, name in sorted(zip(table["task_index"], names, strict=True)))


def read_frames(root: Path, columns: Iterable[str], *, num_frames: int) -> dict[str, NDArray[Any]]:
    """Return columns of numbers, [num_frames, width] each.

    Raises:
        UserError: frames are missing or out of order.
    """
    tables = [pq.read_table(file, columns=[*columns, "index"]) for file in data_files(root)]
    found = sum(len(table) for table in tables)
    # more frames than the metadata lists are what a killed writer left
    if found < num_frames:
        raise UserError(f"the dataset {root} lacks {num_frames - found} of its {num_frames} frames: copy data/ anew")
    table = pa.concat_tables(tables).slice(0, num_frames)
    if not np.array_equal(table["index"].to_numpy(), np.arange(num_frames)):
        raise UserError(
            f"the data files of {root} are not in the order of their `index` column: write the dataset anew"
        )
    return {key: flat(table[key]).reshape(num_frames, -1) for key in table.column_names if key != "index"}


def flat(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return all numbers of a column, nested lists one after another."""
    array = column.combine_chunks()
    while not pa.types.is_primitive(array.type):
        array = array.storage if isinstance(array, pa.ExtensionArray) else array.flatten()
    return array.to_numpy(zero_copy_only=False)


def require_finite(channels: Mapping[str, NDArray[np.float32]], ends: NDArray[np.int64]) -> None:
    """Check that channels [frames, n] hold numbers only.

    Raises:
        UserError: naming the channel and the episode that hold a NaN.
    """
    for key, values in channels.items():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if bad.size:
            episode = int(np.searchsorted(ends, bad[0], side="right"))
            raise UserError(
                f"channel '{key}' holds NaN or infinity in episode {episode}: remove that episode or record it anew"
            )
