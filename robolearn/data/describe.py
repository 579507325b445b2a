"""What is in a dataset, from its metadata alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.data import layout, stages
from robolearn.data.inferred_schema import UNKNOWN_UNIT
from robolearn.data.raw import RawDataset, is_numeric
from robolearn.eval.metrics import SuccessRate

SHOWN_TASKS = 12  # instructions that are listed


@dataclass(frozen=True)
class Channel:
    """One channel; `low` and `high` are its smallest and largest component's value, None where nobody counted."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    unit: str
    low: float | None
    high: float | None

    def cells(self) -> tuple[str, ...]:
        """Return key, dtype, shape, unit, smallest and largest value for people."""
        extremes = ["" if value is None else f"{value:.4g}" for value in (self.low, self.high)]
        return self.key, self.dtype, "x".join(map(str, self.shape)), self.unit, *extremes


@dataclass(frozen=True)
class Description:
    """A dataset in a few numbers.

    Attributes:
        robot: its name.
        fps: frames per second.
        lengths: frames of each episode.
        channels: in the dataset's order.
        tasks: episodes by instruction.
        successes: of all episodes; None where nobody noted them.
        stages: each stage's mean share of an episode's time.
        sizes: bytes on disk of data, videos and meta.
    """

    robot: str
    fps: int
    lengths: tuple[int, ...]
    channels: tuple[Channel, ...]
    tasks: dict[str, int]
    successes: int | None
    stages: dict[str, float]
    sizes: dict[str, int]

    @property
    def frames(self) -> int:
        """Frames of all episodes."""
        return sum(self.lengths)

    def facts(self) -> dict[str, str]:
        """Return what there is to say about the whole, by name."""
        seconds = [length / self.fps for length in self.lengths]
        result = {
            "robot": self.robot,
            "episodes": str(len(self.lengths)),
            "frames": f"{self.frames} at {self.fps} per second",
            "duration": f"{sum(seconds):.1f} s; episodes of {min(seconds):.1f} to {max(seconds):.1f} s",
        }
        if self.successes is not None:
            rate = SuccessRate(self.successes, len(self.lengths))
            low, high = rate.interval
            result["success"] = f"{self.successes} ({rate.rate:.0%}; 95 % interval {low:.0%} to {high:.0%})"
        tasks = [f"{count} x {task}" for task, count in self.tasks.items()]
        more = [f"and {len(tasks) - SHOWN_TASKS} more"] if len(tasks) > SHOWN_TASKS else []
        result["instructions"] = "\n".join(tasks[:SHOWN_TASKS] + more)
        if self.stages:
            shares = ", ".join(f"{name} {share:.0%}" for name, share in self.stages.items())
            result["stages"] = f"{shares} of the time"
        parts = ", ".join(f"{folder} {size(count)}" for folder, count in self.sizes.items() if count)
        result["size"] = f"{size(sum(self.sizes.values()))} ({parts})"
        return result


def describe(raw: RawDataset) -> Description:
    """Describe a dataset."""
    path = raw.root / layout.STATISTICS
    statistics = json.loads(path.read_text()) if path.exists() else {}
    success = [row["success"] for row in raw.rows] if "success" in raw.extras else None
    return Description(
        robot=str(raw.info.get("robot_type")),
        fps=raw.fps,
        lengths=tuple(int(row["length"]) for row in raw.rows),
        channels=tuple(_channel(raw, key, statistics) for key in raw.features),
        tasks=dict(Counter(row["tasks"][0] for row in raw.rows).most_common()),
        successes=None if success is None else sum(map(bool, success)),
        stages=stages.temporal_proportions(raw.rows, raw.stage_names) if raw.stage_names else {},
        sizes={name: _size(raw, name) for name in ("data", "videos", "meta")},
    )


def size(count: int) -> str:
    """Return bytes for people: 1.2 MB."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def _channel(raw: RawDataset, key: str, statistics: Mapping[str, Any]) -> Channel:
    feature = raw.features[key]
    own = raw.schema.features.get(key) if raw.schema else None
    units = Counter(own.unit) if own and is_numeric(feature) else Counter([UNKNOWN_UNIT] if own is None else [])
    unit = ", ".join(name if len(units) == 1 else f"{count} {name}" for name, count in units.items())
    known = statistics.get(key) if is_numeric(feature) else None
    low, high = (float(f(known[name])) for f, name in ((np.min, "min"), (np.max, "max"))) if known else (None, None)
    return Channel(key, str(feature["dtype"]), tuple(feature["shape"]), unit, low, high)


def _size(raw: RawDataset, folder: str) -> int:
    return sum(path.stat().st_size for path in (raw.root / folder).rglob("*") if path.is_file())
