"""Progress by signed hops between two frames (VLAC, Zhai et al. 2025; Robo-Dopamine, Tan et al. 2025), a small network.

The critic says how far the later frame is from the earlier one. Three of its hops end at the present frame: from a few
frames before, from the episode's first one, and from frames of other episodes in which the task was done. Their mean
is the progress; where the last two disagree it is not to be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.language import TOKENS
from robolearn.rewards.heads import head
from robolearn.rewards.losses import done_loss, masked_mean
from robolearn.rewards.model import Reading, RewardModel
from robolearn.rewards.pairwise.configuration_pairwise import PairwiseConfig
from robolearn.rewards.pairwise.hops import advanced, consistency, hop_between
from robolearn.schema import Schema


class Estimates(NamedTuple):
    """Progress [...] from three sides.

    Attributes:
        incremental: the hop from `gap` frames before, on top of the progress there.
        forward: the hop from the episode's first frame, where nothing is done yet.
        backward: that from frames of a task that is done, averaged over them.
        fused: mean of the three.
        consistency: how well forward and backward agree, in (0, 1]; see `robolearn.rewards.pairwise.hops.consistency`.
    """

    incremental: Tensor
    forward: Tensor
    backward: Tensor
    fused: Tensor
    consistency: Tensor


class Seen(NamedTuple):
    """State between frames.

    Attributes:
        first: features [hidden_dim] of the episode's first frame; None before it.
        ring: features [hidden_dim] and fused progress [] of the last `gap` frames.
    """

    first: Tensor | None
    ring: tuple[tuple[Tensor, Tensor], ...]


class Pairwise(RewardModel):
    """Reward model `robolearn_pairwise`."""

    config_class = PairwiseConfig
    name = "robolearn_pairwise"
    needs_success = True
    config: PairwiseConfig

    def __init__(self, config: PairwiseConfig, **kwargs: Any) -> None:
        """See `RewardModel`."""
        super().__init__(config, **kwargs)
        dim = config.hidden_dim
        # the first layer of the critic, cut in two: all pairs of n frames cost it n products
        self.earlier, self.later = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.compared = nn.Sequential(nn.SiLU(), head(dim, dim // 2, 1))
        self.done = head(dim, dim // 2, 1)
        self.register_buffer("goals", torch.zeros(config.num_goals, dim))
        self.register_buffer("has_goals", torch.tensor(False))

    @property
    def clip(self) -> tuple[int, int]:
        """See `RewardModel.clip`."""
        return self.config.clip_frames, self.config.gap

    def hop(self, earlier: Tensor, later: Tensor) -> Tensor:
        """Return the hop [...] in (-1, 1) between frames of features [..., hidden_dim]; 0 where they are the same."""
        base = self.earlier(earlier)
        moved = self.compared(base + self.later(later)) - self.compared(base + self.later(earlier))
        return torch.tanh(moved[..., 0])

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of clips and figures to log; see `robolearn.rewards.clips.clips`.

        It is the squared error of the hops of all ordered pairs of frames, of a clip and from the clip before it in the
        batch to it, plus the cross-entropy of "done". Where a batch is cut into parts, so is the circle of its clips.
        """
        features = self.frames(batch)
        progress = self.before[batch["stage"]] + self.shares[batch["stage"]] * batch["tau"]
        valid, wrong = batch["valid"], batch["wrong"]
        within = self._pair_loss((features, progress, valid), (features, progress, valid))
        # what is asked for may turn wrong behind a reference frame, never right: that happens at run time to the goals
        sensible = wrong | ~wrong.roll(1, 0)
        others = (features.roll(1, 0), progress.roll(1, 0), valid.roll(1, 0) & sensible[:, None])
        across = self._pair_loss(others, (features, progress, valid))
        done = done_loss(self.done(features)[..., 0], batch["stage"] == self.config.num_stages, valid)
        figures = {"hop_loss": within.item(), "hop_loss_across": across.item(), "done_loss": done.item()}
        return within + across + done, figures

    def finish(self, starts: Mapping[str, Tensor], goals: Mapping[str, Tensor]) -> None:
        """Keep features of some of the goals.

        Raises:
            UserError: there is none.
        """
        if not len(goals[TOKENS]):
            raise UserError("no episode ended in success: a pair critic needs frames of the task done as references")
        features = self.frames(goals)[:, 0]
        chosen = torch.linspace(0, len(features) - 1, self.config.num_goals).round().long()
        self.goals.copy_(features[chosen])
        self.has_goals.fill_(True)

    def start(self) -> Seen:
        """See `RewardModel.start`."""
        return Seen(None, ())

    def step(self, state: Seen, features: Tensor) -> tuple[Seen, Reading]:
        """See `RewardModel.step`."""
        first = features if state.first is None else state.first
        before, reached = state.ring[0] if state.ring else (features, None)
        hop, forward, backward = (side[0] for side in self._hops(first, before[None], features[None]))
        fused = self._fused(reached, hop, forward, backward).fused
        return Seen(first, (*state.ring, (features, fused))[-self.config.gap :]), self._reading(fused, features)

    def episode(self, features: Tensor) -> Reading:
        """See `RewardModel.episode`."""
        return self._reading(self.estimates(features).fused, features)

    def estimates(self, features: Tensor) -> Estimates:
        """Return the estimates [T] at all frames of an episode from their features [T, hidden_dim]."""
        before = (torch.arange(len(features)) - self.config.gap).clamp(min=0)
        hops = self._hops(features[0], features[before], features)
        told: list[Estimates] = []
        for t, (place, *sides) in enumerate(zip(before.tolist(), *hops, strict=True)):
            told.append(self._fused(told[place].fused if t else None, *sides))
        return Estimates(*map(torch.stack, zip(*told, strict=True)))

    def _hops(self, first: Tensor, before: Tensor, now: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the hop from earlier frames, the forward and the backward estimate [T] of frames [T, hidden_dim]."""
        if not self.has_goals:
            raise UserError("this pair critic has no reference frames yet: use what `robolearn train-reward` wrote")
        forward, back = self.hop(first, now), self.hop(self.goals[:, None], now).mean(0)
        return self.hop(before, now), forward.clamp(min=0), 1 + back.clamp(max=0)

    def _fused(self, before: Tensor | None, hop: Tensor, forward: Tensor, backward: Tensor) -> Estimates:
        """Return the estimates [] at a frame; at the first one nothing comes before, so that two of them decide."""
        incremental = (forward + backward) / 2 if before is None else advanced(before, hop)
        fused = (incremental + forward + backward) / 3
        weight = consistency(forward, backward, sharpness=self.config.sharpness)
        return Estimates(incremental, forward, backward, fused, weight)

    def _reading(self, progress: Tensor, features: Tensor) -> Reading:
        done = torch.sigmoid(self.done(features)[..., 0])
        return Reading(self.calibrated(self.by_progress(progress, done)), progress)

    def _pair_loss(self, earlier: tuple[Tensor, Tensor, Tensor], later: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the squared error over pairs; features, progress and validity of frames [B, T] on either side."""
        (a, progress_a, valid_a), (b, progress_b, valid_b) = earlier, later
        truth = hop_between(progress_a[:, :, None], progress_b[:, None])
        error = (self.hop(a[:, :, None], b[:, None]) - truth).square()
        return masked_mean(error, valid_a[:, :, None] & valid_b[:, None])


def build(schema: Schema, **settings: Any) -> Pairwise:
    """Return an untrained model for these channels; `settings` are fields of `PairwiseConfig`."""
    return Pairwise(PairwiseConfig.from_schema(schema, **settings))
