"""How smooth a stream of commands is: jerk, and jumps of velocity where chunks follow each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CAPACITY = 1 << 14  # commands kept: 65 s at 250 Hz


class CommandLog:
    """The last `CAPACITY` commands and what each belonged to; nothing is allocated while it is written."""

    def __init__(self, joints: int) -> None:
        """Keep commands of this many joints; further components are left aside."""
        self._positions = np.zeros((CAPACITY, joints))
        self._marks = np.zeros((CAPACITY, 3), np.int64)
        self.count = 0

    def add(self, position: Array, *, epoch: int, step: int, chunk: int) -> None:
        """Append the command [joints + ...] of a control period; see `smoothness` for the rest."""
        at = self.count % CAPACITY
        self._positions[at] = position[: self._positions.shape[1]]
        marks = self._marks[at]
        marks[0], marks[1], marks[2] = epoch, step, chunk
        self.count += 1

    def read(self) -> tuple[Array, NDArray[np.int64]]:
        """Copies of positions [n, joints] and of (epoch, step, chunk) [n, 3], oldest first."""
        order = np.arange(max(self.count - CAPACITY, 0), self.count) % CAPACITY
        return self._positions[order], self._marks[order]


def smoothness(positions: Array, marks: NDArray[np.int64], *, rate: float) -> dict[str, Any]:
    """Measure a stream of commands.

    The velocity of a control step is that of the straight way between its begin and the next one's; its jump is how
    much it differs from that of the step before. At a chunk's first step the jump is a boundary's, else within a chunk.

    Args:
        positions: commands [n, joints] in rad, one per control period.
        marks: [n, 3]: which activation a command belongs to, which control step, and from which chunk its action is.
        rate: commands per s.

    Returns:
        "rms_jerk" [joints] in rad/s^3 over "jerk_samples" third differences; "boundary_jump" and "within_jump", each
        {"count", "rms", "max"} of the jumps' norms over the joints, in rad/s. None where there is nothing to measure.
    """
    third = np.diff(positions, n=3, axis=0) * rate**3
    jerk = third[marks[3:, 0] == marks[:-3, 0]]  # across a pause there is no motion to speak of
    jumps, fresh = _jumps(positions, marks, rate)
    return {
        "jerk_samples": len(jerk),
        "rms_jerk": _rms(jerk, axis=0).tolist() if len(jerk) else None,
        "boundary_jump": _described(jumps[fresh]),
        "within_jump": _described(jumps[~fresh]),
    }


def joined(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Join results of `smoothness` of several streams of the same arm."""
    jerky = [r for r in records if r["jerk_samples"]]
    total = sum(r["jerk_samples"] for r in jerky)
    squares = sum((np.square(r["rms_jerk"]) * r["jerk_samples"] for r in jerky), start=np.zeros(1))
    result: dict[str, Any] = {
        "jerk_samples": total,
        "rms_jerk": np.sqrt(squares / total).round(6).tolist() if total else None,
    }
    for name in ("boundary_jump", "within_jump"):
        jumps = [r[name] for r in records if r[name]["count"]]
        count = sum(j["count"] for j in jumps)
        rms = np.sqrt(sum(j["count"] * j["rms"] ** 2 for j in jumps) / count) if count else None
        largest = max(j["max"] for j in jumps) if count else None
        result[name] = {"count": count, "rms": None if rms is None else round(float(rms), 6), "max": largest}
    return result


def _jumps(positions: Array, marks: NDArray[np.int64], rate: float) -> tuple[Array, NDArray[np.bool_]]:
    """Norms of the velocity's jumps, and which of them are at a chunk's first step."""
    begins = np.flatnonzero(np.r_[True, (np.diff(marks[:, :2], axis=0) != 0).any(axis=1)])[: len(marks)]
    epoch, step = marks[begins, 0], marks[begins, 1]
    # an answer that comes into a step sets its chunk: the last command of the step has it
    chunk = marks[np.r_[begins[1:], len(marks)][: len(begins)] - 1, 2]
    spans = np.diff(begins)[:, None] / rate
    velocity = np.diff(positions[begins], axis=0) / spans
    jumps = np.linalg.norm(np.diff(velocity, axis=0), axis=1)
    # step k's jump needs steps k - 1, k and k + 1 of the same activation
    whole = (epoch[2:] == epoch[:-2]) & (step[2:] - step[:-2] == 2)
    return jumps[whole], (chunk[1:-1] != chunk[:-2])[whole]


def _described(jumps: Array) -> dict[str, Any]:
    if not len(jumps):
        return {"count": 0, "rms": None, "max": None}
    return {"count": len(jumps), "rms": round(float(_rms(jumps)), 6), "max": round(float(jumps.max()), 6)}


def _rms(values: Array, axis: int | None = None) -> Array:
    return np.asarray(np.sqrt(np.square(values).mean(axis=axis)))
