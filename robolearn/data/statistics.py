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
        values: [T, n] or [T], T >= 1; [T, ..., n] counts what is between as further frames, as LeRobot does.

    Returns:
        Arrays [n], and "count" [1], which is T. A quantile is the smallest value whose share of frames reaches it,
        which is what LeRobot's histogram approximates.
    """
    x = np.asarray(values, np.float64)
    x = np.sort(x.reshape(-1, x.shape[-1] if x.ndim > 1 else 1), axis=0)
    return {
        "min": x[0],
        "max": x[-1],
        "mean": x.mean(axis=0),
        "std": x.std(axis=0),
        "count": np.array([len(values)]),
        **dict(zip(QUANTILES, x[_ranks(len(x))], strict=True)),
    }


def picture_statistics(pictures: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Return the statistics of each colour of RGB pictures in [0, 1], over the frames and pixels that LeRobot samples.

    Args:
        pictures: [T, height, width, 3], T >= 1.

    Returns:
        Arrays [3, 1, 1], and "count" [1], the number of frames sampled. Exact, from the counts of the 256 values.
    """
    sample = pictures[_sampled_frames(len(pictures))]
    step = _pixel_step(*sample.shape[1:3])
    sample = sample[:, ::step, ::step]
    colours = [_histogram_statistics(np.bincount(sample[..., c].ravel(), minlength=256)) for c in range(3)]
    shaped = {name: np.array([colour[name] for colour in colours]).reshape(3, 1, 1) / 255 for name in colours[0]}
    return {**shaped, "count": np.array([len(sample)])}


def compute_statistics(channels: Mapping[str, NDArray[Any]]) -> Statistics:
    """Return `channel_statistics` of every channel [T, n]."""
    return {key: channel_statistics(values) for key, values in channels.items()}


def episode_statistics(channels: Mapping[str, NDArray[Any]], *, pictures: Sequence[str] = ()) -> Statistics:
    """Return the statistics of an episode; the short vectors in one pass, for each would cost as much as all.

    Args:
        channels: [T, *shape] each, the same T.
        pictures: the channels of RGB pictures among them.
    """
    vectors = {key: values for key, values in channels.items() if values.ndim == 2}
    whole = channel_statistics(np.concatenate(list(vectors.values()), axis=1, dtype=np.float64))
    ends = np.cumsum([values.shape[1] for values in vectors.values()])
    spans = {key: slice(end - vectors[key].shape[1], end) for key, end in zip(vectors, ends.tolist(), strict=True)}
    result: Statistics = {}
    for key, values in channels.items():
        if key in spans:
            result[key] = {name: v if name == "count" else v[spans[key]] for name, v in whole.items()}
        else:
            result[key] = picture_statistics(values) if key in pictures else channel_statistics(values)
    return result


def aggregate_statistics(parts: Sequence[Mapping[str, Mapping[str, NDArray[Any]]]]) -> Statistics:
    """Merge statistics of disjoint sets of frames that have the same channels.

    Mean and deviation are exact (Chan et al. 1979); quantiles are averaged by count, as LeRobot does.
    """
    return {key: _aggregate_channel([part[key] for part in parts]) for key in parts[0]}


def to_json(statistics: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, dict[str, list[Any]]]:
    """Return plain JSON data."""
    return {key: {name: np.asarray(v).tolist() for name, v in values.items()} for key, values in statistics.items()}


def _aggregate_channel(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    mean = np.stack([part["mean"] for part in parts])
    count = np.array([part["count"] for part in parts], np.float64).reshape(-1, *(1,) * (mean.ndim - 1))
    share = count / count.sum()
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


def _ranks(n: int) -> NDArray[np.intp]:
    """Places of the quantiles among n sorted values: the inverted distribution function (Hyndman and Fan 1996)."""
    return np.clip(np.ceil(n * np.array(list(QUANTILES.values())) - 1), 0, n - 1).astype(np.intp)


def _sampled_frames(n: int) -> NDArray[np.intp]:
    """LeRobot's choice: all of up to 100 frames, 100 of up to about 460, then n^0.75, at most 10 000."""
    wanted = max(min(n, 100), min(int(n**0.75), 10_000))
    return np.round(np.linspace(0, n - 1, wanted)).astype(np.intp)


def _pixel_step(height: int, width: int) -> int:
    """LeRobot's thinning of pictures from 300 pixels on, to about 150."""
    return 1 if max(height, width) < 300 else max(height, width) // 150


def _histogram_statistics(count: NDArray[np.integer]) -> dict[str, Any]:
    """Statistics of the values 0, 1, ... that occur `count` times each."""
    value, n = np.arange(len(count)), int(count.sum())
    mean = (count @ value) / n
    present = np.flatnonzero(count)
    quantiles = np.searchsorted(np.cumsum(count), _ranks(n), side="right")
    return {
        "min": present[0],
        "max": present[-1],
        "mean": mean,
        "std": np.sqrt(count @ (value - mean) ** 2 / n),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }
