"""How much each frame of a dataset counts in training: from the dataset's progress file to weights."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.config import TrainingConfig
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.progress import read_progress
from robolearn.errors import UserError, nearest
from robolearn.rewards.rabc import rabc_weights, rising

WEIGHTINGS = {"rabc": rabc_weights, "rising": rising}


@dataclass(frozen=True)
class SampleWeights:
    """Weights, and what they were made of.

    Attributes:
        values: float32 [frames], in [0, 1].
        origin: the same for the same progress and settings only.
    """

    values: NDArray[np.float32]
    origin: str

    def __str__(self) -> str:
        """Say how the frames were judged."""
        full, none = (self.values == 1).mean(), (self.values == 0).mean()
        return f"mean {self.values.mean():.2f}; {full:.0%} of the frames count fully, {none:.0%} not at all"


def load_sample_weights(training: TrainingConfig, data: EpisodeDataset, *, horizon: int) -> SampleWeights | None:
    """Make weights of the progress in the file `training.weights`; None where it names none.

    Args:
        training: which file and weighting.
        data: the dataset whose progress it holds.
        horizon: actions in the policy's chunk.

    Raises:
        UserError: the weighting is unknown, the file is no good, or no frame counts.
    """
    if training.weighting not in WEIGHTINGS:
        raise UserError(f"unknown train.weighting '{training.weighting}'{nearest(training.weighting, WEIGHTINGS)}")
    if training.weights is None:
        return None
    progress = read_progress(Path(training.weights), starts=data.starts, ends=data.ends)
    values = WEIGHTINGS[training.weighting](progress, data.starts, data.ends, horizon=horizon, kappa=training.kappa)
    if not values.any():
        raise UserError(
            f"by {training.weights} no frame of the dataset makes progress over {horizon} actions: "
            "lower train.kappa, or look at what estimated it"
        )
    digest = hashlib.sha256(progress.tobytes()).hexdigest()[:12]
    return SampleWeights(values.astype(np.float32), f"{training.weighting} of {digest} with kappa {training.kappa}")


def require_loss_per_sample(model: Any) -> None:
    """Check that a policy can be trained with weights.

    Raises:
        UserError: it gives a mean loss only.
    """
    if "reduction" not in inspect.signature(model.forward).parameters:
        raise UserError(
            f"{type(model).__name__} gives no loss per sample, so its samples cannot be weighted: give its `forward` a "
            'parameter `reduction`, which may be "none", or leave train.weights null'
        )
