"""Lay an episode along others of the same task: dynamic time warping (Sakoe and Chiba 1978); NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
FASTEST = 2  # frames of the other episode that go by in one of this


def align(episode: Array, others: Sequence[Array], *, complete: bool) -> list[tuple[Ints, float]]:
    """Find the frame of each of some other episodes that each frame of an episode is like.

    They rise from 0, by at most `FASTEST` from frame to frame, so that the sum of distances is the smallest. The
    episode may be as slow as it likes.

    Args:
        episode: embeddings [T, d].
        others: embeddings [L, d] of each.
        complete: whether the last frame is like the other's last, or, if that is too far, like the farthest possible;
            if not, the episode ends where it ends.

    Returns:
        For each other episode its frames [T], and the mean distance to them.
    """
    lengths = np.array([len(other) for other in others])
    path = np.zeros((len(others), lengths.max(), episode.shape[1]))
    for i, other in enumerate(others):
        path[i, : len(other)] = other
    steps, total = _forward(episode, path)
    total[np.arange(path.shape[1]) >= lengths[:, None]] = np.inf
    farthest = np.minimum(lengths, FASTEST * (len(episode) - 1) + 1) - 1
    ends = farthest if complete else total.argmin(1)
    return [(_way(steps[:, i], end), float(total[i, end]) / len(episode)) for i, end in enumerate(ends.tolist())]


def _forward(episode: Array, path: Array) -> tuple[NDArray[np.int8], Array]:
    """Go forwards along paths [paths, L, d], all at once.

    Returns:
        By how many frames the cheapest way comes to a frame [T, paths, L], 1 where several are; what the cheapest way
        to each frame at the end costs [paths, L], infinite where there is none.
    """
    squares = (path**2).sum(2)
    distances = (np.sqrt(np.maximum(squares + seen @ seen - 2 * path @ seen, 0.0)) for seen in episode)
    steps = np.ones((len(episode), *squares.shape), np.int8)
    total = np.full((len(path), FASTEST + path.shape[1]), np.inf)  # nothing comes from before the first frame
    total[:, FASTEST] = next(distances)[:, 0]
    for t, distance in enumerate(distances, start=1):
        best = total[:, FASTEST - 1 : -1].copy()
        for step in (0, *range(2, FASTEST + 1)):
            earlier = total[:, FASTEST - step : total.shape[1] - step]
            better = earlier < best
            steps[t][better] = step
            np.copyto(best, earlier, where=better)
        total[:, FASTEST:] = best + distance
    return steps, total[:, FASTEST:]


def _way(steps: NDArray[np.int8], end: int) -> Ints:
    """Follow steps [T, L] back from the end."""
    way = np.empty(len(steps), np.int64)
    for t in range(len(steps) - 1, -1, -1):
        way[t] = end
        end -= int(steps[t, end])
    return way
