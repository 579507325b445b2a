"""Make a trained model's confidence mean what it says, on episodes that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robolearn.rewards.metrics import threshold_for

TEMPERATURES = np.geomspace(0.5, 5.0, 31)
FALSE_RATE = 0.01  # share of validation episodes that may be called done falsely


def best_temperature(stages: Sequence[NDArray[np.floating]], truths: Sequence[NDArray[np.integer]]) -> float:
    """Return the temperature under which the true stages are most likely (Guo et al. 2017, section 4.2).

    Args:
        stages: probabilities [T, K + 1] at temperature 1 of each episode.
        truths: stages [T].
    """
    logs = np.log(np.concatenate(stages).astype(np.float64).clip(1e-12))
    truth = np.concatenate(truths)

    def surprise(temperature: float) -> float:
        scaled = logs / temperature
        total = np.log(np.exp(scaled - scaled.max(1, keepdims=True)).sum(1)) + scaled.max(1)
        return float((total - scaled[np.arange(len(truth)), truth]).mean())

    return float(min(TEMPERATURES, key=surprise))


def done_threshold(success: Sequence[NDArray[np.floating]], truths: Sequence[NDArray[np.bool_]]) -> float:
    """Return the probability of success from which a task is called done; at least one half.

    Args:
        success: probability [T] that the task is done, of each episode.
        truths: whether it was [T].
    """
    return max(0.5, threshold_for(success, truths, false_rate=FALSE_RATE))
