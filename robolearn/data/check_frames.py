"""Check the frames of a dataset: are they all there, in order, and as far apart as fps says?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robolearn.data.episode_rows import Row
from robolearn.data.findings import COPY_ANEW, DAMAGE, LEAVE_OUT, Finding, Limits, first_line
from robolearn.data.raw import RawDataset, is_numeric
from robolearn.data.reading import data_files, flat
from robolearn.schema import BOOKKEEPING

RATE_TOLERANCE = 0.01  # share by which the typical time step may differ from 1 / fps
STEP_TOLERANCE = 0.1  # share of a time step by which one may differ from it


@dataclass(frozen=True)
class Part:
    """The frames of one data file.

    Attributes:
        file: where they are.
        columns: LeRobot's own columns by name, [frames] each.
        channels: numeric channels by name, [frames, n] each; one that is unlike `info.json` is left out.
    """

    file: Path
    columns: dict[str, NDArray[Any]]
    channels: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Frames:
    """All frames that are in the data files."""

    parts: tuple[Part, ...]

    def column(self, key: str) -> NDArray[Any]:
        """One of LeRobot's columns over all files, [frames]."""
        return np.concatenate([part.columns[key] for part in self.parts]) if self.parts else np.empty(0)

    def channel(self, key: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Episode [frames] and values [frames, n] of a channel, of the files that have it as `info.json` says."""
        having = [part for part in self.parts if key in part.channels]
        if not having:
            return np.empty(0, np.int64), np.empty((0, 1))
        episodes = np.concatenate([part.columns["episode_index"] for part in having])
        return episodes, np.concatenate([part.channels[key] for part in having])


def read_frames(raw: RawDataset) -> tuple[Frames, list[Finding]]:
    """Read every data file that can be read; what cannot be, or is unlike `info.json`, becomes a finding."""
    parts, findings, left = [], [], 0
    places = {int(row["episode_index"]): raw.data_file(row) for row in raw.rows if "data/file_index" in row}
    for file in data_files(raw.root):
        try:
            part, drift = _read_part(raw, file)
        except DAMAGE as error:
            what = f"{file.relative_to(raw.root)} cannot be read ({first_line(error)})"
            findings.append(Finding(what, f"{COPY_ANEW}: its episodes cannot be used until then"))
            continue
        kept = _wanted(part, places) if places else part
        left += len(part.columns["index"]) - len(kept.columns["index"])
        parts.append(kept)
        findings += drift
    if left:
        what = f"{left} frames are in no place that the metadata lists"
        findings.append(Finding(what, "a killed writer left them: run the collection again to go on", hint=True))
    return Frames(tuple(parts)), findings


def _wanted(part: Part, places: Mapping[int, Path]) -> Part:
    """Keep the frames of episodes that the metadata says are in this file; a killed writer may leave others."""
    here = [number for number, file in places.items() if file == part.file]
    mask = np.isin(part.columns["episode_index"], here)
    columns = {key: values[mask] for key, values in part.columns.items()}
    return Part(part.file, columns, {key: values[mask] for key, values in part.channels.items()})


def _read_part(raw: RawDataset, file: Path) -> tuple[Part, list[Finding]]:
    name = file.relative_to(raw.root)
    wanted = {key: feature for key, feature in raw.features.items() if is_numeric(feature)}
    found = pq.read_schema(file).names
    table = pq.read_table(file, columns=[c for c in found if c in wanted or c in BOOKKEEPING])
    if lost := [key for key in BOOKKEEPING if key not in found]:
        raise ValueError(f"it has no column '{lost[0]}'")
    findings = [
        Finding(f"it is missing in {name}", COPY_ANEW, channel=key)
        for key, feature in raw.features.items()
        if key not in found and feature["dtype"] != "video"
    ]
    channels = {}
    for key, feature in wanted.items():
        if key not in found:
            continue
        shape = tuple(feature["shape"])
        values = _to_array(table[key])
        if values is None or values.shape[1:] != (int(np.prod(shape)),):
            width = "ragged" if values is None else f"{values.shape[1]} wide"
            findings.append(
                Finding(f"it is {width} in {name}, its shape in info.json is {shape}", COPY_ANEW, channel=key)
            )
        else:
            channels[key] = values
    columns = {key: table[key].to_numpy() for key in BOOKKEEPING}
    return Part(file, columns, channels), findings


def _to_array(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """Return [frames, n], or None where frames differ in length."""
    if pa.types.is_list(column.type) and len(pc.unique(pc.list_value_length(column))) > 1:
        return None
    return flat(column).astype(np.float64).reshape(len(column), -1)


def check_timeline(raw: RawDataset, frames: Frames, limits: Limits) -> Iterator[Finding]:
    """Compare the frames of each episode with its metadata and with fps."""
    columns = {key: frames.column(key) for key in BOOKKEEPING}
    order = np.argsort(columns["episode_index"], kind="stable")
    numbers, starts = np.unique(columns["episode_index"][order], return_index=True)
    spans = zip(numbers, starts, [*starts[1:], len(order)], strict=False)  # no episode: no start, but an end
    episodes = {int(n): {key: values[order[a:b]] for key, values in columns.items()} for n, a, b in spans}
    step = _time_step(raw, [own["timestamp"] for own in episodes.values()])
    if abs(step * raw.fps - 1) > RATE_TOLERANCE:
        what = f"frames are {step:.4g} s apart ({1 / step:.4g} per second), info.json says fps={raw.fps}"
        yield Finding(what, "write the true rate into info.json, or import the recording anew")
    for row in raw.rows:
        own = episodes.pop(int(row["episode_index"]), None)
        if own is None:
            yield Finding("none of its frames are in the data files", LEAVE_OUT, int(row["episode_index"]))
        else:
            yield from _check_episode(raw, row, own, step=step, limits=limits)


def _time_step(raw: RawDataset, timestamps: list[NDArray[Any]]) -> float:
    """Return what usually lies between two frames, in s; 1 / fps where no episode has two."""
    steps = [np.diff(times.astype(np.float64)) for times in timestamps if len(times) > 1]
    usual = float(np.median(np.concatenate(steps))) if steps else 0.0
    return usual if usual > 0 else 1 / raw.fps


def _check_episode(
    raw: RawDataset, row: Row, own: Mapping[str, NDArray[Any]], *, step: float, limits: Limits
) -> Iterator[Finding]:
    number, length = int(row["episode_index"]), len(own["index"])
    if row.get("length") not in (None, length):
        what = f"the data files hold {length} frames of it, its metadata says {row['length']}"
        yield Finding(what, LEAVE_OUT, number)
    if length * step < limits.min_seconds:
        yield Finding(f"it lasts {length * step:.2g} s only ({length} frames)", LEAVE_OUT, number)
    for key, first in (("frame_index", 0), ("index", row.get("dataset_from_index", own["index"][0]))):
        bad = np.flatnonzero(own[key] != first + np.arange(length))
        if bad.size:
            what = f"`{key}` is {own[key][bad[0]]} at frame {bad[0]}, not {first + bad[0]}: frames are missing or twice"
            yield Finding(what, LEAVE_OUT, number)
    times = own["timestamp"].astype(np.float64)
    bad = np.flatnonzero(~(np.abs(np.diff(times) - step) <= STEP_TOLERANCE * step))
    if bad.size:
        jump = times[bad[0] + 1] - times[bad[0]]
        what = f"time goes on by {jump:.4g} s, not {step:.4g} s, from frame {bad[0]} to the next{_more(bad.size)}"
        yield Finding(what, LEAVE_OUT, number)
    if abs(times[0]) > STEP_TOLERANCE * step:
        yield Finding(f"its time begins at {times[0]:.4g} s, not 0", LEAVE_OUT, number)
    unknown = own["task_index"][(own["task_index"] < 0) | (own["task_index"] >= len(raw.tasks))]
    if raw.tasks and unknown.size:
        what = f"`task_index` is {unknown[0]}, there are {len(raw.tasks)} instructions"
        yield Finding(what, "copy meta/tasks.parquet anew", number)


def _more(count: int) -> str:
    return f" (and {count - 1} times more)" if count > 1 else ""
