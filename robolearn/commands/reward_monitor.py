"""What `robolearn train-reward` makes of validation episodes for the monitor: its numbers, and how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.commands.reward_data import LabelledEpisode
from robolearn.monitor_fitting import Watched, fit, truths, watch
from robolearn.monitoring import FAILED, SUCCESS, MonitorSettings

if TYPE_CHECKING:
    from robolearn.rewards.model import Reading
    from robolearn.rewards.serving import TorchEstimator

FOLDS = 5
TIE = 0.01  # a smaller rise of the true progress is none


class Called(NamedTuple):
    """What a monitor made of an episode.

    Attributes:
        done: whether the task was done.
        success: frame at which it was first called so, or None.
        rightly: whether it was, then.
        failed: frame at which it was first called a failure, or None.
        waited: frames from the last true rise of the progress before that.
    """

    done: bool
    success: int | None
    rightly: bool
    failed: int | None
    waited: int


def watched(readings: Sequence[Reading], episodes: Sequence[LabelledEpisode]) -> list[Watched]:
    """Join what a model said of episodes with the truth."""
    return [
        Watched(
            reading.stages.argmax(-1).numpy(),
            reading.progress.double().numpy(),
            reading.success.double().numpy(),
            episode.labels.stage,
            episode.labels.progress,
        )
        for reading, episode in zip(readings, episodes, strict=True)
    ]


def judge_monitor(episodes: Sequence[Watched], *, num_stages: int, done_at: float) -> list[Called | None]:
    """Watch each episode by numbers from the others, in `FOLDS` parts; None where there is no success among those."""
    called: list[Called | None] = [None] * len(episodes)
    order = np.random.default_rng(0).permutation(len(episodes))
    for fold in np.array_split(order, FOLDS):
        rest = [episodes[i] for i in order if i not in fold]
        if any(one.done(num_stages).any() for one in rest):
            settings = fit(rest, num_stages=num_stages, done_at=done_at)
            for i in fold:
                called[i] = _called(settings, episodes[i])
    return called


def monitor_figures(called: Sequence[Called | None], *, fps: int) -> dict[str, float]:
    """Return how good a monitor is, as far as there are episodes to say so.

    Args:
        called: from `judge_monitor`.
        fps: frames per second.

    Returns:
        "success_precision", share of those called successes that were done then; "success_recall", share of the
        successes that were rightly called so; "failure_detection", share of the failures called so; "false_alarms",
        share of the successes ever called failures; "seconds_to_detection", median from the last true rise of the
        progress to the verdict.
    """
    known = [one for one in called if one is not None]
    wins, losses = [one for one in known if one.done], [one for one in known if not one.done]
    found = {
        "success_precision": [one.rightly for one in known if one.success is not None],
        "success_recall": [one.rightly for one in wins],
        "failure_detection": [one.failed is not None for one in losses],
        "false_alarms": [one.failed is not None for one in wins],
    }
    figures = {name: float(np.mean(values)) for name, values in found.items() if values}
    if waited := [one.waited for one in losses if one.failed is not None]:
        figures["seconds_to_detection"] = float(np.median(waited)) / fps
    return figures


def calibrate_kinds(estimator: TorchEstimator, episodes: Sequence[LabelledEpisode]) -> list[NDArray[np.float64]]:
    """Set the temperature of a model that tells kinds of failure; return what it then says of each episode's frames."""
    from robolearn.rewards.calibration import best_temperature

    config, known = estimator.model.config, _known(estimator)
    told = [(one, estimator.kinds(one.frames, one.instruction)) for one in episodes if one.failure in known]
    if told:
        config.kinds_temperature = best_temperature(
            [kinds for _, kinds in told], [np.full(len(kinds), known.index(one.failure)) for one, kinds in told]
        )
    return [estimator.kinds(one.frames, one.instruction) for one in episodes]


def kind_figures(
    estimator: TorchEstimator,
    kinds: Sequence[NDArray[np.float64]],
    episodes: Sequence[LabelledEpisode],
    called: Sequence[Called | None],
) -> dict[str, float]:
    """Return how often the kind of a failure is told.

    Returns:
        "kind_accuracy", the likeliest of all at the end of failures of a known kind; "kind_accuracy_when_called", the
        likeliest but "none" at the frame at which the monitor called one a failure.
    """
    known = _known(estimator)
    failures = [i for i, one in enumerate(episodes) if one.failure and one.failure in known]
    truth = {i: known.index(episodes[i].failure) for i in failures}
    at = {i: one.failed for i in failures if (one := called[i]) is not None and one.failed is not None}
    found = {
        "kind_accuracy": [kinds[i][-1].argmax() == truth[i] for i in failures],
        "kind_accuracy_when_called": [1 + kinds[i][frame, 1:].argmax() == truth[i] for i, frame in at.items()],
    }
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def _called(settings: MonitorSettings, episode: Watched) -> Called:
    verdicts = [judged.outcome for judged in watch(settings, episode)]
    success, failed = (verdicts.index(name) if name in verdicts else None for name in (SUCCESS, FAILED))
    rightly = success is not None and bool(truths(SUCCESS, episode, settings.num_stages)[success])
    waited = 0 if failed is None else failed - _last_rise(episode.true_progress[: failed + 1])
    return Called(bool(episode.done(settings.num_stages).any()), success, rightly, failed, waited)


def _last_rise(progress: NDArray[np.float64]) -> int:
    """Frame at which progress [T] last reached a new height."""
    return int((progress >= progress.max() - TIE).argmax())


def _known(estimator: TorchEstimator) -> list[str]:
    return ["", *estimator.model.config.kinds]
