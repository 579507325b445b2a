"""Judges an estimator of progress on labelled episodes and on the controls; every figure is kept by episode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.commands.reward_data import LabelledEpisode
from robolearn.rewards.controls import CONTROLS
from robolearn.rewards.metrics import (
    TIE,
    calibration_error,
    done_latency,
    false_done,
    spearman,
    value_order_correlation,
)

LEAST_RANGE = 0.05  # of true progress, below which there is no order to speak of
SURE = 3  # frames in a row over which success counts: an episode's score is the highest mean of so many


class Read(NamedTuple):
    """What an estimator says of T frames.

    Attributes:
        stage: [T] most likely stage.
        progress: [T] in [0, 1].
        success: [T] probability that the task is done.
    """

    stage: NDArray[np.int64]
    progress: NDArray[np.float64]
    success: NDArray[np.float64]


Estimate = Callable[[Mapping[str, NDArray[Any]], str], Read]
Figures = dict[str, list[float]]


def pack(values: Iterable[float]) -> str:
    """Return values as text, with a blank between two: a record has thousands, and is committed."""
    return " ".join(f"{value:.5g}" for value in values)


def unpack(text: str) -> NDArray[np.float64]:
    """Return what `pack` was given, NaN for what was not finite."""
    values = np.array(text.split(), float)
    return np.where(np.isfinite(values), values, np.nan)


def judge(estimate: Estimate, episodes: Sequence[LabelledEpisode], *, num_stages: int, done_at: float) -> Figures:
    """Return figures of episodes as they were, one value for each; NaN where one has no say.

    Args:
        estimate: from frames and instruction to what is said of them, causally.
        episodes: with labels.
        num_stages: of the task.
        done_at: probability of success from which the task is called done.
    """
    figures: Figures = {}
    for episode in episodes:
        truth = episode.labels
        read = estimate(episode.frames, episode.instruction)
        done, is_done = read.success >= done_at, truth.stage >= num_stages
        latency = done_latency(done, is_done)
        varies = np.ptp(truth.progress) > LEAST_RANGE
        values = {
            "stage_accuracy": float((read.stage == truth.stage).mean()),
            "progress_error": float(np.abs(read.progress - truth.progress).mean()),
            "spearman": _in_order(read.progress, truth.progress) if varies else np.nan,
            "order_on_successes": value_order_correlation(read.progress) if episode.success else np.nan,
            "peak_success": float(np.convolve(read.success, np.ones(SURE) / SURE, mode="valid").max()),
            "final_progress": float(read.progress[-1]),
            "is_success": float(episode.success),
            "false_done": float(false_done(done, is_done)),
            "missed_done": float(latency is None) if is_done.any() else np.nan,
            "done_latency": float(latency) if latency is not None else np.nan,
            "calibration_error": calibration_error(read.success, is_done),
        }
        for name, value in values.items():
            figures.setdefault(name, []).append(float(value))
    return figures


def judge_controls(
    estimate: Estimate, episodes: Sequence[LabelledEpisode], *, wrong: Sequence[str], seed: int
) -> Figures:
    """Return figures of the controls, one value for each episode.

    Of each film: the error of progress, its rank correlation with the truth of what is shown and, of the still one,
    with time. Of the frozen tail: by how much progress moved while the picture stood still. Of a wrong instruction:
    the progress that is said to be made.

    Args:
        estimate: as for `judge`.
        episodes: with labels.
        wrong: instructions of other tasks, which no training saw.
        seed: of the films.
    """
    figures: Figures = {}
    for i, episode in enumerate(episodes):
        rng = np.random.default_rng((seed, i))
        length = len(episode.labels.stage)
        values: dict[str, float] = {}
        for name, film in CONTROLS.items():
            shown = film(length, rng)
            read = estimate({key: frames[shown] for key, frames in episode.frames.items()}, episode.instruction)
            truth = episode.labels.progress[shown]
            values[f"{name}.progress_error"] = float(np.abs(read.progress - truth).mean())
            if np.ptp(truth) > LEAST_RANGE:
                values[f"{name}.spearman"] = _in_order(read.progress, truth)
            if name == "static":
                values["static.order"] = abs(value_order_correlation(read.progress))
            if name == "frozen_tail":
                tail = read.progress[shown == shown[-1]][1:]
                values["frozen_tail.drift"] = float(np.ptp(tail))
        text = wrong[i % len(wrong)]
        values["wrong_instruction.progress"] = float(estimate(episode.frames, text).progress.mean())
        for name, value in values.items():
            figures.setdefault(name, []).append(value)
    return figures


def _in_order(progress: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Rank correlation of progress with the truth, both rounded to `TIE`: there is no order in the last digits."""
    return spearman(np.round(progress / TIE), np.round(truth / TIE))
