"""How punctual a control loop was: recorded without allocation, summarised afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.real.chunk_times import Stages
from robolearn.real.smoothness import CommandLog, joined, smoothness

CAPACITY = 1 << 16  # values kept: 4.4 minutes at 250 Hz
STAGES = Stages._fields
LATENCY_EDGES_MS = tuple(float(ms) for ms in range(0, 52, 2))  # bins of the report's histogram


class Recent:
    """The last `CAPACITY` values of a series, and how many there were."""

    def __init__(self) -> None:
        """Start empty."""
        self._values = np.zeros(CAPACITY)
        self.count = 0

    def add(self, value: float) -> None:
        """Append a value."""
        self._values[self.count % CAPACITY] = value
        self.count += 1

    def values(self) -> NDArray[np.float64]:
        """Copy of what is kept, in no particular order once the capacity is passed."""
        return self._values[: min(self.count, CAPACITY)].copy()


class LoopStatistics:
    """Record of one activation of the control loop.

    Attributes:
        lateness: wake-up minus deadline of each period, in s.
        latency: stamp of an observation to the first command that uses it, in s.
        stages: from the observation that a chunk was inferred from to the chunk's first command, in s, by part; see
            `robolearn.real.chunk_times.Stages`.
        missed: periods that were skipped because the loop was more than one period late.
        ticks: control steps.
        late_chunks: control steps that began or stayed with the previous plan because inference was late.
        holds: times that the controller went into hold.
        takeovers: times that a person took over.
        person_steps: control steps that were a person's.
        commands: positions sent, and the control steps and chunks that they belonged to.
    """

    def __init__(self, *, joints: int, rate: float) -> None:
        """Start empty, for an arm of this many joints at `rate` commands per s."""
        self.commands, self._rate = CommandLog(joints), rate
        self.lateness, self.latency = Recent(), Recent()
        self.stages = {name: Recent() for name in STAGES}
        self.missed = self.ticks = self.late_chunks = self.holds = self.takeovers = self.person_steps = 0

    def begun(self, stages: Stages) -> None:
        """The first command of a chunk was sent."""
        for name, seconds in zip(STAGES, stages, strict=True):
            self.stages[name].add(seconds)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; times in ms, rounded to 1 us."""
        return {
            "periods": self.lateness.count,
            "missed_periods": self.missed,
            "ticks": self.ticks,
            "late_chunks": self.late_chunks,
            "holds": self.holds,
            "takeovers": self.takeovers,
            "person_steps": self.person_steps,
            "smoothness": smoothness(*self.commands.read(), rate=self._rate),
            "lateness_ms": np.round(self.lateness.values() * 1e3, 3).tolist(),
            "latency_ms": np.round(self.latency.values() * 1e3, 3).tolist(),
            **{f"{name}_ms": np.round(kept.values() * 1e3, 3).tolist() for name, kept in self.stages.items()},
        }


def summarise(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Join records of `LoopStatistics.to_dict`: counts, p50, p99 and max in ms, and a latency histogram.

    Percentiles are None where nothing was recorded. Smoothness is that of all together.
    """
    records = list(records)
    counts = ("periods", "missed_periods", "ticks", "late_chunks", "holds", "takeovers", "person_steps")
    summary: dict[str, Any] = {name: sum(int(r[name]) for r in records) for name in counts}
    summary["smoothness"] = joined([r["smoothness"] for r in records])
    for series in ("lateness_ms", "latency_ms", *(f"{name}_ms" for name in STAGES)):
        values = np.concatenate([np.asarray(r[series], float) for r in records]) if records else np.zeros(0)
        summary[series] = percentiles(values)
        if series == "latency_ms":
            histogram, _ = np.histogram(np.clip(values, 0.0, LATENCY_EDGES_MS[-1]), LATENCY_EDGES_MS)
            summary["latency_histogram"] = {"edges_ms": list(LATENCY_EDGES_MS), "counts": histogram.tolist()}
    return summary


def percentiles(values: NDArray[np.float64]) -> dict[str, float | None]:
    """p50, p99 and max of values."""
    if not len(values):
        return {"p50": None, "p99": None, "max": None}
    p50, p99 = np.percentile(values, (50, 99))
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(values.max()), 3)}


def write_json(path: Path, data: Any) -> None:
    """Write JSON so that a kill leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(data) + "\n")
    os.replace(temporary, path)
