"""Frames of an episode as an Arrow table with the columns that LeRobot reads."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])  # what `datasets.Image` stores
PNG_LEVEL = 1  # of compression: the higher ones cost more time than they save space


def frame_table(channels: Mapping[str, NDArray[Any]], *, pictures: Sequence[str] = ()) -> pa.Table:
    """Return the frames of an episode.

    Args:
        channels: [T, *shape] each.
        pictures: the channels of them that hold RGB pictures, uint8 [T, height, width, 3]; they become PNG.
    """
    return pa.table({key: png_column(v) if key in pictures else number_column(v) for key, v in channels.items()})


def number_column(values: NDArray[Any]) -> pa.Array:
    """Return [T, *shape] as LeRobot keeps it: one component as scalars, a vector as fixed lists, else nested lists."""
    shape = values.shape[1:]
    array = pa.array(values.reshape(-1))
    if shape == (1,):
        return array
    if len(shape) == 1:
        return pa.FixedSizeListArray.from_arrays(array, shape[0])
    for width in reversed(shape):
        array = pa.ListArray.from_arrays(pa.array(np.arange(0, len(array) + 1, width, dtype=np.int32)), array)
    return array


def png_column(pictures: NDArray[np.uint8]) -> pa.StructArray:
    """Return pictures [T, height, width, 3] as PNG files within the column."""
    return pa.array([{"bytes": _png(picture), "path": None} for picture in pictures], PICTURE)


def write_frames(path: Path, episodes: Sequence[pa.Table]) -> None:
    """Write a parquet file with one row group per episode, so that any episode is read alone."""
    options = {"use_dictionary": False, "write_statistics": ["episode_index"]}
    with pq.ParquetWriter(path, episodes[0].schema, **options) as writer:
        for table in episodes:
            writer.write_table(table)


def _png(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=PNG_LEVEL)
    return file.getvalue()
