"""Statistics of channels in the form of LeRobot's `stats.json`, of one episode and of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Statistics = dict[str, dict[str, NDArray[Any]]]

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def channel_statistics(values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return min, max, mean, population standard deviation, count and quantiles over frames.

    Args:
        values: [T, n] or [T], T >= 1.

    Returns:
        Arrays [n], and "count" [1]. A quantile is the smallest value whose share of frames reaches it, which is
        what LeRobot's histogram approximates.
    """
    x = np.asarray(values, np.float64).reshape(len(values), -1)
    quantiles = np.quantile(x, list(QUANTILES.values()), axis=0, method="inverted_cdf")
    return {
        "min": x.min(axis=0),
        "max": x.max(axis=0),
        "mean": x.mean(axis=0),
        "std": x.std(axis=0),
        "count": np.array([len(x)]),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def compute_statistics(channels: Mapping[str, NDArray[Any]]) -> Statistics:
    """Return `channel_statistics` of every channel [T, n]."""
    return {key: channel_statistics(values) for key, values in channels.items()}


def aggregate_statistics(parts: Sequence[Mapping[str, Mapping[str, NDArray[Any]]]]) -> Statistics:
    """Merge statistics of disjoint sets of frames that have the same channels.

    Mean and deviation are exact (Chan et al. 1979); quantiles are averaged by count, as LeRobot does.
    """
    return {key: _aggregate_channel([part[key] for part in parts]) for key in parts[0]}


def to_json(statistics: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, dict[str, list[Any]]]:
    """Return plain JSON data."""
    return {key: {name: np.asarray(v).tolist() for name, v in values.items()} for key, values in statistics.items()}


def _aggregate_channel(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    count = np.array([part["count"] for part in parts], np.float64).reshape(-1, 1)
    share = count / count.sum()
    mean = np.stack([part["mean"] for part in parts])
    total_mean = (share * mean).sum(axis=0)
    variance = np.stack([part["std"] for part in parts]) ** 2 + (mean - total_mean) ** 2
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": total_mean,
        "std": np.sqrt((share * variance).sum(axis=0)),
        "count": np.array([int(count.sum())]),
        **{q: (share * np.stack([part[q] for part in parts])).sum(axis=0) for q in QUANTILES},
    }
