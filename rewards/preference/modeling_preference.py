"""Progress as a potential that ranks frames (ideas of RAPL, Tian et al. 2024, DeformPAM, Chen et al. 2025, and APO).

No stage is learned, only who is preferred to whom: within a success later frames to earlier ones, the end of a success
to whatever happened in a failure, what a person did to what the policy did before that, and whatever was done under its
own instruction to films under another one. Stages are read off the progress.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from robolearn.errors import UserError
from robolearn.rewards.framewise import FramewiseModel
from robolearn.rewards.heads import head
from robolearn.rewards.losses import done_loss, masked_mean
from robolearn.rewards.model import Reading
from robolearn.rewards.preference.configuration_preference import PreferenceConfig
from robolearn.schema import Schema

AT_START, AT_END = 0.02, 0.98  # progress of the median first frame and of the median last frame of a success


class Preference(FramewiseModel):
    """Reward model `robolearn_preference`."""

    config_class = PreferenceConfig
    name = "robolearn_preference"
    reads = ("frame", "success", "intervention")
    needs_success = True
    config: PreferenceConfig

    def __init__(self, config: PreferenceConfig, **kwargs: Any) -> None:
        """See `RewardModel`."""
        super().__init__(config, **kwargs)
        dim = config.hidden_dim
        self.potential = head(dim, dim, 1)
        self.done = head(dim, dim // 2, 1)
        self.register_buffer("slope", torch.tensor(1.0))
        self.register_buffer("offset", torch.tensor(0.0))

    @property
    def clip(self) -> tuple[int, int]:
        """See `RewardModel.clip`."""
        return self.config.clip_frames, self.config.gap

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of clips and figures to log; see `robolearn.rewards.clips.clips`.

        Of the labels it uses the one that says that all is done, which a success has at its end.
        """
        features = self.frames(batch)
        potential = self.potential(features)[..., 0]
        done = batch["stage"] == self.config.num_stages
        right = batch["valid"] & ~batch["wrong"][:, None]
        losses = {
            "order_loss": self._order_loss(potential, batch, right),
            "outcome_loss": _beats(potential[done & right], potential[right & ~batch["success"]]),
            "instruction_loss": _beats(potential[right], potential[batch["valid"] & batch["wrong"][:, None]]),
            "done_loss": done_loss(self.done(features)[..., 0], done, batch["valid"]),
        }
        return torch.stack(list(losses.values())).sum(), {name: loss.item() for name, loss in losses.items()}

    def finish(self, starts: Mapping[str, Tensor], goals: Mapping[str, Tensor]) -> None:
        """Calibrate: first frames make nearly no progress, ends of successes nearly all.

        Raises:
            UserError: the potential does not rise from these to those.
        """
        low, high = (self.potential(self.frames(frames)).median() for frames in (starts, goals))
        if high <= low:
            raise UserError("the ends of successes rank no higher than first frames: raise train.steps")
        self.slope.copy_((_logit(AT_END) - _logit(AT_START)) / (high - low))
        self.offset.copy_(_logit(AT_START) - self.slope * low)

    def episode(self, features: Tensor) -> Reading:
        """See `RewardModel.episode`."""
        progress = torch.sigmoid(self.slope * self.potential(features)[..., 0] + self.offset)
        done = torch.sigmoid(self.done(features)[..., 0])
        return Reading(self.calibrated(self.by_progress(progress, done)), progress)

    def _order_loss(self, potential: Tensor, batch: Mapping[str, Tensor], right: Tensor) -> Tensor:
        """Return the loss of pairs of frames of a clip, by the order in which they happened, not that of the film."""
        frame, person = batch["frame"], batch["intervention"]
        later = frame[:, None] - frame[:, :, None] >= self.config.margin
        taken_over = person[:, None] & ~person[:, :, None]
        ranked = later & (taken_over | batch["success"][:, None]) & right[:, None] & right[:, :, None]
        return masked_mean(_bradley_terry(potential[:, None], potential[:, :, None]), ranked)


def build(schema: Schema, **settings: Any) -> Preference:
    """Return an untrained model for these channels; `settings` are fields of `PreferenceConfig`."""
    return Preference(PreferenceConfig.from_schema(schema, **settings))


def _beats(better: Tensor, worse: Tensor) -> Tensor:
    """Return the mean loss of all pairs of frames [n] and [m]; 0 where there are none."""
    losses = _bradley_terry(better[:, None], worse)
    return masked_mean(losses, torch.ones_like(losses))


def _bradley_terry(better: Tensor, worse: Tensor) -> Tensor:
    """Return -log P(better > worse) [...] with P = sigmoid(better - worse) (Bradley and Terry 1952)."""
    return functional.softplus(worse - better)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
