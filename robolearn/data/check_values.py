"""Check what the channels of a dataset hold: NaN, values that never change, jumps, bounds, statistics."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from robolearn.data import layout
from robolearn.data.check_frames import Frames
from robolearn.data.findings import COPY_ANEW, LEAVE_OUT, Finding, Limits
from robolearn.data.raw import RawDataset

USUAL = 0.995  # share of the steps between frames that count as usual
FEW = 16  # a component with no more values than this is a switch: its steps are no jumps
SLACK = 1e-4  # share of a range by which numbers may differ from rounding alone

Ids = NDArray[np.int64]
Values = NDArray[np.float64]


def check_values(raw: RawDataset, frames: Frames, limits: Limits) -> Iterator[Finding]:
    """Check every numeric channel of one axis."""
    yield from _check_statistics(raw, frames)
    for key, feature in raw.features.items():
        episodes, values = frames.channel(key)
        if len(feature["shape"]) != 1 or not len(values):
            continue
        names = _names(raw, key, values.shape[1])
        finite = np.asarray(np.isfinite(values).all(axis=1))
        yield from _check_finite(key, episodes, finite)
        if key == layout.STAGE and raw.stage_names:
            yield from _check_labels(key, len(raw.stage_names), episodes[finite], values[finite])
        elif key == layout.PROGRESS:
            yield from _check_labels(key, 1, episodes[finite], values[finite])
        elif key != layout.STAGE and finite.any():
            yield from _check_constant(key, names, episodes[finite], values[finite])
            yield from _check_jumps(key, names, episodes[finite], values[finite], limits)
            yield from _check_bounds(raw, key, names, episodes[finite], values[finite])


def _names(raw: RawDataset, key: str, width: int) -> tuple[str, ...]:
    feature = raw.schema.features.get(key) if raw.schema else None
    return feature.names if feature and len(feature.names) == width else tuple(f"component {i}" for i in range(width))


def _check_finite(key: str, episodes: Ids, finite: NDArray[np.bool_]) -> Iterator[Finding]:
    for episode in np.unique(episodes[~finite]):
        bad = np.flatnonzero(~finite[episodes == episode])
        more = f" and {bad.size - 1} frames more" if bad.size > 1 else ""
        yield Finding(f"it holds NaN or infinity at frame {bad[0]}{more}", LEAVE_OUT, int(episode), key)


def _check_labels(key: str, done: int, episodes: Ids, values: Values) -> Iterator[Finding]:
    """Labels are from 0 to what means done: the number of stages, or a progress of 1."""
    bad = ((values < 0) | (values > done)).any(axis=1)
    for episode in np.unique(episodes[bad]):
        yield Finding(f"it has a label beyond 0 to {done}", LEAVE_OUT, int(episode), key)


def _check_constant(key: str, names: Sequence[str], episodes: Ids, values: Values) -> Iterator[Finding]:
    """Components that never change in the dataset, and episodes in which a channel that can change does not."""
    fixed = values.min(axis=0) == values.max(axis=0)
    advice = "leave it out of what a policy reads, if that is no mistake"
    if fixed.all():
        yield Finding("it never changes", advice, channel=key, hint=True)
        return
    if fixed.any():
        which = ", ".join(name for name, still in zip(names, fixed, strict=True) if still)
        yield Finding(f"{which} never changes", advice, channel=key, hint=True)
    changes = np.any(values[1:] != values[:-1], axis=1) & (episodes[1:] == episodes[:-1])
    moving = np.unique(episodes[1:][changes])
    numbers, lengths = np.unique(episodes, return_counts=True)
    still = np.setdiff1d(numbers[lengths > 1], moving)
    if len(still) * 2 > len(numbers):
        return  # it says what an episode is about, e.g. where the goal is
    for episode in still:
        yield Finding("it does not change in this episode", f"a sensor that hung? {LEAVE_OUT}", int(episode), key, True)


def _check_jumps(key: str, names: Sequence[str], episodes: Ids, values: Values, limits: Limits) -> Iterator[Finding]:
    steps = np.abs(np.diff(values, axis=0))
    steps[episodes[1:] != episodes[:-1]] = 0.0
    for i, name in enumerate(names):
        size = steps[:, i]
        if not size.any() or len(np.unique(values[:, i])) <= FEW:
            continue
        usual = np.quantile(size[size > 0], USUAL)
        bad = np.flatnonzero(size > limits.jump * usual)
        for episode in np.unique(episodes[bad]):
            first = bad[episodes[bad] == episode][0]
            frame = int(first - np.flatnonzero(episodes == episode)[0])
            what = (
                f"{name} jumps by {size[first]:.4g} from frame {frame} to the next; "
                f"99.5 % of its steps are below {usual:.2g}"
            )
            yield Finding(what, f"look at it with `robolearn data view`, then {LEAVE_OUT}", int(episode), key, True)


def _check_bounds(raw: RawDataset, key: str, names: Sequence[str], episodes: Ids, values: Values) -> Iterator[Finding]:
    feature = raw.schema.features.get(key) if raw.schema else None
    if feature is None or feature.role != "action" or feature.low is None or feature.high is None:
        return
    low, high = np.array(feature.low), np.array(feature.high)
    slack = SLACK * (high - low)
    bad = (values < low - slack) | (values > high + slack)
    for i in np.flatnonzero(bad.any(axis=0)):
        first = np.flatnonzero(bad[:, i])[0]
        what = (
            f"{names[i]} is {values[first, i]:.4g}, its bounds are {low[i]:.4g} to {high[i]:.4g} "
            f"({bad[:, i].sum()} frames)"
        )
        yield Finding(what, f"correct {layout.OWN_SCHEMA}, or clip the actions", int(episodes[first]), key)


def _check_statistics(raw: RawDataset, frames: Frames) -> Iterator[Finding]:
    """`stats.json` normalises what policies read: it must be of these data."""
    path, advice = raw.root / layout.STATISTICS, "write the dataset anew with `robolearn data merge`"
    if not path.exists():
        yield Finding(f"there is no {layout.STATISTICS}", advice)
        return
    try:
        statistics = json.loads(path.read_text())
    except ValueError as error:
        yield Finding(f"{layout.STATISTICS} is no JSON ({error})", f"{COPY_ANEW}, or {advice}")
        return
    frames_listed = sum(int(row.get("length") or 0) for row in raw.rows)
    for key in raw.features:
        _, values = frames.channel(key)
        if not len(values) or len(values) != frames_listed or not np.isfinite(values).all():
            continue  # reported elsewhere
        if key not in statistics:
            yield Finding(f"{layout.STATISTICS} lacks it", advice, channel=key)
            continue
        for name, ours in (("min", values.min(axis=0)), ("max", values.max(axis=0))):
            theirs = np.asarray(statistics[key].get(name, []), np.float64).reshape(-1)
            slack = SLACK * np.maximum(np.abs(ours), 1e-3)
            if theirs.shape != ours.shape or (np.abs(theirs - ours) > slack).any():
                yield Finding(f"{layout.STATISTICS} has another {name} than the data", advice, channel=key)
                break
