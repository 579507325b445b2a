"""Stage labels of an episode, one per frame, as the segments that LeRobot's reward models read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MODES = ("sparse", "dense")  # LeRobot keeps a coarse and a fine annotation; ours are one and the same


def segments(stage: NDArray[np.integer], names: Sequence[str]) -> tuple[list[str], list[int], list[int]]:
    """Cut an episode where its stage changes.

    Args:
        stage: [T] index into `names`; `len(names)` where every stage is done.
        names: the task's stages, in order.

    Returns:
        Name, first frame and last frame (inclusive) of each segment. Frames where all is done belong to none. A
        stage that is lost and regained appears twice.
    """
    edges = np.flatnonzero(np.diff(stage)) + 1
    starts = np.concatenate(([0], edges))
    ends = np.concatenate((edges, [len(stage)])) - 1
    kept = [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if stage[a] < len(names)]
    return [names[stage[a]] for a, _ in kept], [a for a, _ in kept], [b for _, b in kept]


def columns(stage: NDArray[np.integer], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return an episode's annotation columns, for each of `MODES`."""
    found, starts, ends = segments(stage, names)
    return {
        f"{mode}_{column}": values
        for mode in MODES
        for column, values in (("subtask_names", found), ("subtask_start_frames", starts), ("subtask_end_frames", ends))
    }


def temporal_proportions(episodes: Iterable[dict[str, Any]], names: Sequence[str]) -> dict[str, float]:
    """Return each stage's mean share of the annotated time of an episode (SARM, Chen et al. 2025); they sum to 1."""
    total = dict.fromkeys(names, 0.0)
    for row in episodes:
        spans = zip(*(row[f"dense_{c}"] for c in ("subtask_start_frames", "subtask_end_frames")), strict=True)
        lengths = [b - a + 1 for a, b in spans]
        for name, length in zip(row["dense_subtask_names"], lengths, strict=True):
            total[name] += length / sum(lengths)
    whole = sum(total.values())
    return {name: share / whole if whole else 1.0 / len(names) for name, share in total.items()}
