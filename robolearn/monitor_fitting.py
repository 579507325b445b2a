"""Set the monitor's numbers on validation episodes: successes say how long things take, all of them how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.monitoring import LOST, OUTCOMES, RUNNING, STALLED, SUCCESS, Judged, Monitor, MonitorSettings
from robolearn.schema import Progress

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]
FALSE_RATE = 0.01  # share of validation episodes on which a rule may be wrong
QUANTILE = 0.99  # of the times for which successes stand still
NOISE_QUANTILE = 0.8  # of the errors of the progress, below which a rise is none
ENOUGH = 20  # successes from which a stage has a time of its own
MOST_FRAMES = 20  # in a row that are asked for
EARLY = 2  # frames by which a success may be told too early: recordings and predicates differ by as much
EVER = 2**30  # frames; longer than any episode


@dataclass(frozen=True)
class Watched:
    """What an estimator said of an episode [T], and the truth.

    Attributes:
        stage: the most likely one; the number of stages where all are done.
        progress: of the task, in [0, 1].
        success: probability that it is done.
        true_stage: by the labels.
        true_progress: likewise.
    """

    stage: NDArray[np.int64]
    progress: Array
    success: Array
    true_stage: NDArray[np.int64]
    true_progress: Array

    def done(self, num_stages: int) -> Mask:
        """Whether the task was done [T]."""
        return self.true_stage >= num_stages


def watch(settings: MonitorSettings, episode: Watched) -> list[Judged]:
    """Return what a monitor says of each frame of an episode."""
    monitor = Monitor(settings)
    told = zip(episode.stage, episode.progress, episode.success, strict=True)
    return [monitor.judge(Progress(int(stage), float(value), float(done))) for stage, value, done in told]


def fit(episodes: Sequence[Watched], *, num_stages: int, done_at: float) -> MonitorSettings:
    """Return the settings of a monitor for an estimator.

    Args:
        episodes: that neither the estimator nor the policy was trained on; successes and, to know how sure the monitor
            is, failures.
        num_stages: of the task.
        done_at: probability of success from which the estimator calls a task done.

    Raises:
        UserError: no episode succeeded.
    """
    successes = [one for one in episodes if one.done(num_stages).any()]
    if not successes:
        raise UserError("no validation episode succeeded: a monitor must know how long a success takes; give more data")
    errors = np.concatenate([np.abs(one.progress - one.true_progress) for one in episodes])
    eps = float(np.quantile(errors, NOISE_QUANTILE))
    settings = MonitorSettings(
        num_stages=num_stages,
        done_at=done_at,
        done_frames=_fewest(lambda n: _false_successes(episodes, num_stages, done_at, n)),
        held_frames=_fewest(lambda m: float(np.mean([_falsely_lost(one, m, eps) for one in episodes]))),
        eps=eps,
        stall_frames=(EVER,) * num_stages,
        recovery_frames=EVER,
        confidence={},
    )
    before = [_until_done(one, num_stages) for one in successes]
    settings = replace(settings, stall_frames=_stall_frames(settings, before))
    times = [time for one in before for time in _troubles(settings, one)]
    # where none was in trouble, as long again as none stood still
    settings = replace(settings, recovery_frames=max(times, default=max(settings.stall_frames)))
    return replace(settings, confidence=_confidence(settings, episodes))


def truths(outcome: str, episode: Watched, num_stages: int) -> Mask:
    """Return at which frames [T] a verdict would be right.

    "success": the task is done, or within `EARLY` frames. "lost": fewer stages are complete than before. "running": it
    is or will be done. "stalled" and "failed": it will not.
    """
    done = episode.done(num_stages)
    later = np.logical_or.accumulate(done[::-1])[::-1]
    if outcome == SUCCESS:
        return _soon(done)
    if outcome == LOST:
        return episode.true_stage < np.maximum.accumulate(episode.true_stage)
    return later if outcome == RUNNING else ~later


def rising(scores: Array, values: Array, weights: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the isotonic regression of values [n] on scores [n]: lowest scores of its steps, and their levels.

    Pool adjacent violators (Ayer et al. 1955). Each level is drawn towards one half as if half an episode had said yes
    and half an episode no (Jeffreys), so that one episode alone never makes sure.
    """
    lowest, place = np.unique(scores, return_inverse=True)
    steps: list[tuple[float, float, float]] = []  # lowest score, weight, weighted sum
    totals = np.bincount(place, weights), np.bincount(place, weights * values)
    for step in zip(lowest, *totals, strict=True):
        steps.append(step)
        while len(steps) > 1 and _level(steps[-2]) >= _level(steps[-1]):
            _, weight, total = steps.pop()
            steps[-1] = (steps[-1][0], steps[-1][1] + weight, steps[-1][2] + total)
    levels = np.maximum.accumulate([(total + 0.5) / (weight + 1.0) for _, weight, total in steps])
    kept = np.flatnonzero(np.diff(levels, prepend=-1.0) > 0)
    return tuple(float(steps[i][0]) for i in kept), tuple(levels[kept].tolist())


def _level(step: tuple[float, float, float]) -> float:
    return step[2] / step[1]


def _confidence(
    settings: MonitorSettings, episodes: Sequence[Watched]
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Table of each outcome that occurs. An episode counts once, for its frames are alike."""
    judged = [watch(settings, one) for one in episodes]
    tables = {}
    for outcome in OUTCOMES:
        scores, right, weights = [], [], []
        for one, verdicts in zip(episodes, judged, strict=True):
            here = np.array([verdict.outcome == outcome for verdict in verdicts])
            scores += [verdict.score for verdict in verdicts if verdict.outcome == outcome]
            right += truths(outcome, one, settings.num_stages)[here].tolist()
            weights += [1.0 / max(here.sum(), 1)] * int(here.sum())
        if scores:
            tables[outcome] = rising(np.array(scores, float), np.array(right, float), np.array(weights))
    return tables


def _stall_frames(settings: MonitorSettings, successes: Sequence[Watched]) -> tuple[int, ...]:
    """Times for which a success may stand still, by stage: a quantile, and a margin by which others exceeded it."""
    longest = np.array([_longest_still(settings, one) for one in successes])
    limits = _limits(longest)
    if len(successes) < 2:
        margin = 1.0
    else:
        ratios = [float((one / _limits(np.delete(longest, i, axis=0))).max()) for i, one in enumerate(longest)]
        margin = max(1.0, float(np.quantile(ratios, QUANTILE)))
    return tuple(int(frames) for frames in np.ceil(margin * limits))


def _limits(longest: NDArray[np.int64]) -> Array:
    """Quantile [K] of times [n, K]; of all stages together where a stage has too few; -1 is a stage not seen."""
    enough = (longest >= 0).sum(0) >= ENOUGH
    common = np.quantile(longest.max(1), QUANTILE)
    own = [
        np.quantile(column[column >= 0], QUANTILE) if ok else common
        for column, ok in zip(longest.T, enough, strict=True)
    ]
    return np.maximum(np.array(own), 1.0)


def _longest_still(settings: MonitorSettings, episode: Watched) -> NDArray[np.int64]:
    """Longest time [K] for which progress stood still in each stage; -1 where there was none."""
    found = np.full(settings.num_stages, -1)
    monitor = Monitor(settings)
    for stage, value, success in zip(episode.stage, episode.progress, episode.success, strict=True):
        judged = monitor.judge(Progress(int(stage), float(value), float(success)))
        if judged.outcome == RUNNING:
            still = round(-judged.score * settings.stall_frames[judged.stage])
            found[judged.stage] = max(found[judged.stage], still)
    return found


def _troubles(settings: MonitorSettings, episode: Watched) -> list[int]:
    """Frames that each trouble of an episode lasted."""
    troubled = np.array([one.outcome in (STALLED, LOST) for one in watch(settings, episode)])
    return _runs(troubled)


def _until_done(episode: Watched, num_stages: int) -> Watched:
    """The frames of a success before it is done, and the first one then."""
    end = int(episode.done(num_stages).argmax()) + 1
    return Watched(*(getattr(episode, name)[:end] for name in Watched.__dataclass_fields__))


def _fewest(false: Callable[[int], float]) -> int:
    """Least number of frames in a row with which a rule is wrong seldom enough, or as seldom as with the most."""
    limit = max(FALSE_RATE, false(MOST_FRAMES))
    return next(count for count in range(1, MOST_FRAMES + 1) if false(count) <= limit)


def _false_successes(episodes: Sequence[Watched], num_stages: int, done_at: float, frames: int) -> float:
    wrong = [(one.success >= done_at) & ~_soon(one.done(num_stages)) for one in episodes]
    return float(np.mean([max(_runs(mask), default=0) >= frames for mask in wrong]))


def _falsely_lost(episode: Watched, frames: int, eps: float) -> bool:
    """Whether a stage would be called lost at a frame while the truth had not fallen by then."""
    if len(episode.stage) < frames:
        return False
    stage, value = (
        np.lib.stride_tricks.sliding_window_view(told, frames) for told in (episode.stage, episode.progress)
    )
    lower = stage.max(1) < np.maximum.accumulate(stage.min(1))
    fallen = lower & (value.max(1) < np.maximum.accumulate(value.min(1)) - eps)
    truly = episode.true_stage < np.maximum.accumulate(episode.true_stage)
    return bool((fallen & ~np.logical_or.accumulate(truly)[frames - 1 :]).any())


def _soon(done: Mask) -> Mask:
    """Whether it is done at a frame [T] or within `EARLY` frames after it."""
    return np.convolve(done, np.ones(EARLY + 1))[EARLY:] > 0


def _runs(mask: Mask) -> list[int]:
    """Lengths of the runs in which a mask [T] holds."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return (edges[1::2] - edges[::2]).tolist()
