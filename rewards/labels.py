"""What a frame is worth: its stage, how far it is within the stage, and the progress of the whole task.

Stages come from the simulator's predicates or from annotations, so they fall back where the object is dropped; progress
follows the frames, never the clock (SARM, Chen et al. 2025, with that change).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """Labels of frames, of one episode or of many in a row.

    Attributes:
        stage: [T] index of the current stage; the number of stages where all are done.
        tau: [T] progress within it, in [0, 1]; 0 where all is done.
        progress: [T] of the whole task, in [0, 1].
    """

    stage: Ints
    tau: Array
    progress: Array


def stage_shares(stages: Sequence[Ints], num_stages: int) -> Array:
    """Return the prior share [num_stages] of each stage: its mean share of an episode's time; they sum to 1.

    Args:
        stages: of each episode [T]; those in which a stage is missing say little about shares, so that successes alone
            are counted where there are any. Frames where all is done do not count.
        num_stages: of the task.

    Raises:
        UserError: there is no frame in any stage.
    """
    counts = np.array([np.bincount(stage, minlength=num_stages + 1)[:num_stages] for stage in stages], float)
    counts = counts.reshape(len(stages), num_stages)
    complete = np.array([reached_end(stage, num_stages) for stage in stages], bool)
    if complete.any():
        counts = counts[complete]
    totals = counts.sum(axis=1, keepdims=True)
    if not totals.any():
        raise UserError("no frame is in any stage: the dataset has no annotations; `robolearn annotate` makes some")
    share: Array = (counts / np.maximum(totals, 1)).sum(axis=0)
    # a stage that was passed within a frame still is a step forward
    share = np.maximum(share / share.sum(), 0.5 / np.maximum(totals, 1).mean())
    return share / share.sum()


def reached_end(stage: Ints, num_stages: int) -> bool:
    """Whether an episode ended with all stages done, or in the last one: recordings may stop one frame early."""
    return bool(stage[-1] >= num_stages - 1)


def label(stage: Ints, *, shares: Array, within: Array | None = None) -> Labels:
    """Label the frames of one episode.

    progress = P_{k-1} + alpha_k tau, where alpha are the shares and P their cumulative sum.

    Args:
        stage: [T] current stage.
        shares: [K] from `stage_shares`.
        within: [T] progress within the stage by the simulator; None interpolates in time between the stage's first
            frame and its last, for datasets that know no better.
    """
    num_stages = len(shares)
    tau = _by_time(stage) if within is None else np.clip(within, 0.0, 1.0)
    tau = np.where(stage >= num_stages, 0.0, tau)
    return Labels(stage, tau, progress_of(stage, tau, shares))


def progress_of(stage: Ints, tau: Array, shares: Array) -> Array:
    """Return the progress [T] of the whole task from stage [T] and progress within it [T]."""
    before = np.concatenate(([0.0], np.cumsum(shares)))
    before[-1] = 1.0
    alpha = np.concatenate((shares, [0.0]))
    return before[stage] + alpha[stage] * tau


def within_stage(progress: Array, stage: Ints, num_stages: int) -> Array:
    """Undo the simulator's progress, (stage + within) / num_stages: return the progress within the stage [T]."""
    return np.clip(progress * num_stages - stage, 0.0, 1.0)


def steady(stage: Ints, shortest: int) -> Ints:
    """Return stages [T] without flicker.

    Args:
        stage: [T] as somebody estimated them.
        shortest: a stage that is named for fewer frames in a row counts as the one before it, at the beginning of an
            episode as the one after it. The last one stays: nothing says how long it would have been.
    """
    starts, ends = _runs(stage)
    kept = ends - starts >= shortest
    kept[-1] = True
    source = np.maximum.accumulate(np.where(kept, np.arange(len(kept)), kept.argmax()))
    return np.repeat(stage[starts[source]], ends - starts)


def _runs(stage: Ints) -> tuple[Ints, Ints]:
    """First frames of runs of one stage, and one past their last."""
    edges = np.flatnonzero(np.diff(stage)) + 1
    return np.concatenate(([0], edges)), np.concatenate((edges, [len(stage)]))


def _by_time(stage: Ints) -> Array:
    """Share [T] of each run of one stage that has gone by; its last frame is the one before the next run's first."""
    starts, ends = _runs(stage)
    lengths = ends - starts
    passed = np.arange(len(stage)) - np.repeat(starts, lengths)
    return passed / np.repeat(np.maximum(lengths, 1), lengths)
