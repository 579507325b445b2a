"""Mixture of horizons (Jing et al. 2025): one transformer predicts chunks of several lengths, a gate fuses them.

Horizons h_1 < ... < h_N = H run side by side: the tokens of all of them form one sequence, in which a token sees those
of its own horizon alone. A linear gate on the tokens weighs, for every action k, the horizons that reach it:

    a_k = sum_{h >= k} alpha_{k,h} a_k^(h),    alpha_{k,.} = softmax over these horizons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robolearn.policies.backbones.dit import DiT

EPS = 1e-6


class Mixed(NamedTuple):
    """What the horizons predict.

    Attributes:
        fused: [B, H, action_dim].
        each: [N, B, H, action_dim]; where a horizon does not reach, the fused prediction stands.
        weights: [B, H, N], zero where a horizon does not reach.
    """

    fused: Tensor
    each: Tensor
    weights: Tensor


class HorizonMixture(DiT):
    """A `DiT` whose `forward` returns the fused prediction and those of all horizons, [1 + N, B, H, action_dim]."""

    def __init__(self, *, horizons: Sequence[int], hidden_dim: int, **sizes: Any) -> None:
        """Build it; `horizons` rise to that of the chunk, the other arguments are those of `DiT`."""
        super().__init__(hidden_dim=hidden_dim, **sizes)
        self.gate = nn.Linear(hidden_dim, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        self.horizons = tuple(horizons)
        lengths = torch.tensor(self.horizons)
        steps = torch.arange(self.horizons[-1])
        reached = steps < lengths[:, None]
        owner = torch.arange(len(lengths)).repeat_interleave(lengths)
        self.reached: Tensor
        self.sees: Tensor
        self.action_of_token: Tensor
        self.token_of_action: Tensor
        fixed = {
            "reached": reached,  # [N, H]
            "sees": owner[:, None] == owner,  # [tokens, tokens]
            "action_of_token": steps.repeat(len(lengths), 1)[reached],  # [tokens]
            # [N, H], any token where there is none
            "token_of_action": (lengths.cumsum(0) - lengths)[:, None] + torch.minimum(steps, lengths[:, None] - 1),
        }
        for name, tensor in fixed.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, sample: Tensor, time: Tensor, observed: Tensor, step: Tensor | None = None) -> Tensor:
        """Return the fused prediction, then each horizon's; arguments as those of `ResidualMLP.forward`."""
        mixed = self.mix(sample, time, observed, step)
        return torch.cat((mixed.fused[None], mixed.each))

    def mix(self, sample: Tensor, time: Tensor, observed: Tensor, step: Tensor | None = None) -> Mixed:
        """Return predictions and weights."""
        tokens = (self.action_in(sample) + self.place)[:, self.action_of_token]
        h = self.transform(tokens, time, observed, step, self.sees)
        actions = self.action_out(h)[:, self.token_of_action]
        logits = self.gate(h)[:, self.token_of_action, 0].masked_fill(~self.reached, -torch.inf)
        weights = torch.softmax(logits, dim=1)
        fused = (weights[..., None] * actions).sum(1)
        each = torch.where(self.reached[..., None], actions, fused[:, None])
        return Mixed(fused, each.transpose(0, 1), weights.transpose(1, 2))

    def errors(self, mixed: Mixed, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squared errors [B, H] of the fused prediction, and of each horizon's summed.

        Both have the actions of a sample weigh so that their mean over H is a mean over the actions that a horizon
        reaches (equation 17, L_mix and L_ind).
        """
        fused = (mixed.fused - target).square().mean(2)
        each = (mixed.each - target).square().mean(3)
        share = self.reached * (self.reached.shape[1] / self.reached.sum(1, keepdim=True))
        return fused, (share[:, None] * each).sum(0)

    def imbalance(self, weights: Tensor) -> Tensor:
        """Return L_bal (equations 14 to 16): how unevenly the gate uses the horizons, averaged over intervals.

        The interval (h_{i-1}, h_i] has the same horizons throughout; CV^2 of their mean weights is Var / Mean^2.
        """
        total, begin = weights.new_zeros(()), 0
        for i, end in enumerate(self.horizons[:-1]):
            usage = weights[:, begin:end, i:].mean((0, 1))
            total = total + usage.var(correction=0) / (usage.mean().square() + EPS)
            begin = end
        return total / (len(self.horizons) - 1)
