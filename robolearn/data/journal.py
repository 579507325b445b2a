"""Finished episodes of online RL on disk, as Arrow streams: appended at once, readable up to where a kill came."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from robolearn.data.replay import Trajectory

NAME, PATTERN = "episodes-{:05d}.arrows", "episodes-*.arrows"
SHAPE = b"shape"


class Journal:
    """Appends episodes to a file of its own in a folder; those of earlier runs stay beside it."""

    def __init__(self, folder: Path) -> None:
        """Write to the next file of `folder`, made when the first episode comes."""
        self.folder = folder
        self._writer: pa.RecordBatchStreamWriter | None = None

    def append(self, trajectory: Trajectory, note: dict[str, Any]) -> None:
        """Write one episode, with a note of plain data; it is on the disk's side when this returns."""
        batch = _batch(trajectory)
        if self._writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / _next_name(self.folder)).open("xb", buffering=0)
            self._writer = pa.ipc.new_stream(self._file, batch.schema)
        told = {"terminated": trajectory.terminated, "success": trajectory.success, "note": note}
        self._writer.write_batch(batch, custom_metadata={"episode": json.dumps(told)})

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()
            self._file.close()
            self._writer = None


def read_journal(folder: Path) -> Iterator[tuple[Trajectory, dict[str, Any]]]:
    """Yield the episodes of a folder with their notes, oldest first; one that a kill cut short is left out."""
    for path in sorted(folder.glob(PATTERN)):
        with path.open("rb") as file:
            try:
                stream = pa.ipc.open_stream(file)
            except (pa.ArrowInvalid, OSError):  # killed before the first episode
                continue
            yield from _episodes(stream)


def _next_name(folder: Path) -> str:
    newest = max(folder.glob(PATTERN), default=None)
    return NAME.format(0 if newest is None else int(newest.stem.rpartition("-")[2]) + 1)


def _episodes(stream: pa.RecordBatchStreamReader) -> Iterator[tuple[Trajectory, dict[str, Any]]]:
    while True:
        try:
            batch, metadata = stream.read_next_batch_with_custom_metadata()
        except (StopIteration, pa.ArrowInvalid, OSError):
            return
        told = json.loads(metadata["episode"])
        columns = {field.name: _array(batch.column(k), field) for k, field in enumerate(batch.schema)}
        action, reward = columns.pop("action")[:-1], columns.pop("reward")[:-1]
        yield Trajectory(columns, action, reward, told["terminated"], told["success"]), told["note"]


def _batch(trajectory: Trajectory) -> pa.RecordBatch:
    """One row for each frame; action and reward of the last one, after which nothing was done, are zero."""
    done = {"action": trajectory.action, "reward": trajectory.reward}
    padded = {key: np.concatenate((values, np.zeros_like(values[:1]))) for key, values in done.items()}
    fields, columns = [], []
    for key, values in {**trajectory.frames, **padded}.items():
        wide = values if values.size else np.zeros((len(values), 1), values.dtype)  # Arrow has no lists of nothing
        rows = pa.array(np.ascontiguousarray(wide).reshape(-1))
        kind = pa.list_(rows.type, math.prod(wide.shape[1:]))
        fields.append(pa.field(key, kind, metadata={SHAPE: json.dumps(values.shape[1:])}))
        columns.append(pa.FixedSizeListArray.from_arrays(rows, type=kind))
    return pa.record_batch(columns, schema=pa.schema(fields))


def _array(column: pa.FixedSizeListArray, field: pa.Field) -> NDArray[Any]:
    values: NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    shape = json.loads(field.metadata[SHAPE])
    return values[: len(column) * math.prod(shape)].reshape(len(column), *shape)
