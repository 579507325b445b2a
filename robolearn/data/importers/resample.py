"""Bring messages that come when they come to frames at a fixed rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SECOND = 1_000_000_000  # times are in ns, as ROS counts them
Times = NDArray[np.int64]

RULES = ("hold", "asof", "drop")
TOO_OLD = ("error", "cut")
TAKES = ("last", "next")


@dataclass(frozen=True)
class Rule:
    """Which message a frame takes.

    Attributes:
        resample: "hold": however old it is; "asof": no older than `tolerance`; "drop": likewise, and a frame without
            one is left out.
        tolerance: in s.
        too_old: with "asof", where there is none: "error", or "cut" the episode in two.
        take: "last" before the frame, or "next" after it, e.g. the command that answers an observation.
    """

    resample: str = "hold"
    tolerance: float = 0.0
    too_old: str = "error"
    take: str = "last"


class TooOldError(Exception):
    """No message that is fresh enough for a frame, where there must be one."""

    def __init__(self, channel: int, time: int) -> None:
        """Note the place among the channels, and the frame's time in ns."""
        super().__init__(f"channel {channel} at {time}")
        self.channel, self.time = channel, time


def pick(times: Times, ticks: Times, rule: Rule) -> NDArray[np.intp]:
    """Return for each frame the place of its message in `times`, -1 where there is none that the rule allows.

    Args:
        times: [n] of the messages, in ns, in order.
        ticks: [T] of the frames, in ns.
        rule: see there.
    """
    if rule.take == "last":
        place = np.searchsorted(times, ticks, side="right") - 1
    else:
        place = np.searchsorted(times, ticks, side="left")
        place[place == len(times)] = -1
    found = place >= 0
    if rule.resample != "hold" and len(times):
        found &= np.abs(ticks - times[place]) <= round(rule.tolerance * SECOND)
    return np.where(found, place, -1)


def grid(series: Sequence[Times], rules: Sequence[Rule], *, fps: int) -> Times:
    """Return the times of the frames: from when every channel has had a message, until the last of them.

    A channel that is held has no say in the end: it may be silent because nothing changes.
    """
    # a channel that takes the next message needs none before the first frame
    start = max([t[0] for t, rule in zip(series, rules, strict=True) if rule.take == "last"] or [t[0] for t in series])
    fresh = [times[-1] for times, rule in zip(series, rules, strict=True) if rule.resample != "hold"]
    end = max(fresh or [times[-1] for times in series])
    count = max(0, int((end - start) * fps // SECOND) + 1)
    return start + np.round(np.arange(count) * (SECOND / fps)).astype(np.int64)


def episodes(
    series: Sequence[Times], rules: Sequence[Rule], *, fps: int, frames: Times | None = None
) -> list[NDArray[np.intp]]:
    """Return for each episode the places [T, channels] of the messages of its frames.

    Frames without a message are left out at both ends. In between they end an episode ("cut"), are left out ("drop"),
    or are an error. Where the times of the `frames` [T] are given, in ns, in order, an episode ends also where the next
    one is late by more than half a step.

    Raises:
        TooOldError: a frame has no message, and the rule says that this is an error.
    """
    ticks = grid(series, rules, fps=fps) if frames is None else frames
    places = np.stack([pick(times, ticks, rule) for times, rule in zip(series, rules, strict=True)], axis=1)
    missing = places < 0
    for channel, rule in enumerate(rules):
        if rule.resample == "asof" and rule.too_old == "error":
            inner = missing[:, channel].copy()
            if rule.take == "next":  # nothing comes after the last command
                inner[ticks > series[channel][-1]] = False
            if inner.any():
                raise TooOldError(channel, int(ticks[np.flatnonzero(inner)[0]]))
    dropped = np.array([rule.resample == "drop" for rule in rules])
    ends = np.asarray(missing[:, ~dropped].any(axis=1))
    kept = np.asarray(~missing[:, dropped].any(axis=1))
    borders = np.flatnonzero(np.diff(np.concatenate(([True], ends, [True])).astype(int)))
    spans = zip(borders[::2], borders[1::2], strict=True)
    late = () if frames is None else np.flatnonzero(np.diff(ticks) > 1.5 * SECOND / fps) + 1
    return [places[a:b][kept[a:b]] for begin, end in spans for a, b in pairwise(_cut(begin, end, late))]


def _cut(begin: int, end: int, late: Iterable[int]) -> list[int]:
    return [begin, *(i for i in late if begin < i < end), end]
