"""A transformer over the actions of a chunk with adaptive layer norms that start at zero (DiT, Peebles & Xie 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.networks.attention import SelfAttention, feed_forward
from robolearn.policies.backbones.waves import Waves


class Block(nn.Module):
    """Attention and feed-forward layers, each h <- h + gate * f((1 + scale) * LN(h) + shift)."""

    def __init__(self, dim: int, heads: int) -> None:
        """Build one block."""
        super().__init__()
        self.width = (dim,)
        self.attention = SelfAttention(dim, heads)
        self.feed_forward = feed_forward(dim)

    def forward(self, h: Tensor, modulation: Tensor, mask: Tensor | None) -> Tensor:
        """Return h [B, tokens, dim] moved by the block, given its shifts, scales and gates [B, 6, 1, dim]."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = modulation.unbind(1)
        h = h + gate_a * self.attention(modulate(h, shift_a, scale_a), mask)
        return h + gate_f * self.feed_forward(modulate(h, shift_f, scale_f))


class DiT(nn.Module):
    """Prediction for a noisy chunk at some time; one token per action.

    Observations and time are summed into one vector, from which one layer makes the modulation of all blocks. That
    layer and the last start at zero, so that every block begins as the identity and the prediction as zero.
    """

    def __init__(
        self,
        *,
        observed_dim: int,
        horizon: int,
        action_dim: int,
        hidden_dim: int,
        num_blocks: int,
        num_heads: int,
        with_step: bool,
    ) -> None:
        """Build the network.

        Args:
            observed_dim: width of the encoded observations.
            horizon: length of the chunk.
            action_dim: width of an action.
            hidden_dim: width of the tokens.
            num_blocks: number of transformer blocks.
            num_heads: heads of each attention; must divide `hidden_dim`.
            with_step: whether the prediction also depends on the sampler's step size.
        """
        super().__init__()
        dim, waves = hidden_dim, hidden_dim // 2
        self.waves = Waves(2.0, -2.0, waves)
        self.time_in = nn.Linear((4 if with_step else 2) * waves, dim)
        self.time_out = nn.Linear(dim, dim)
        self.observation_in = nn.Linear(observed_dim, dim)
        self.observation_out = nn.Linear(dim, dim)
        self.action_in = nn.Linear(action_dim, dim)
        self.place = nn.Parameter(Waves(0.0, -2.0, waves)(torch.arange(float(horizon))))
        self.blocks = nn.ModuleList(Block(dim, num_heads) for _ in range(num_blocks))
        # 6 vectors for each block, 2 for the last norm
        self.modulation = nn.Linear(dim, (6 * num_blocks + 2) * dim)
        self.action_out = nn.Linear(dim, action_dim)
        for layer in (self.modulation, self.action_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def observe(self, encoded: Tensor) -> Tensor:
        """Embed encoded observations [B, observed_dim]; done once per chunk."""
        embedded: Tensor = self.observation_out(functional.silu(self.observation_in(encoded)))
        return embedded

    def forward(self, sample: Tensor, time: Tensor, observed: Tensor, step: Tensor | None = None) -> Tensor:
        """Return the prediction [B, horizon, action_dim]; arguments as those of `ResidualMLP.forward`."""
        tokens = self.action_in(sample) + self.place
        prediction: Tensor = self.action_out(self.transform(tokens, time, observed, step))
        return prediction

    def transform(
        self, h: Tensor, time: Tensor, observed: Tensor, step: Tensor | None, mask: Tensor | None = None
    ) -> Tensor:
        """Pass tokens [B, tokens, dim] through all blocks; `mask` as in `SelfAttention.forward`."""
        condition = observed + self.time_out(functional.silu(self.time_in(self.waves(time, step))))
        modulation = self.modulation(functional.silu(condition)).unflatten(1, (-1, 1, h.shape[2]))
        *each, last = modulation.split([6] * len(self.blocks) + [2], dim=1)
        for block, own in zip(self.blocks, each, strict=True):
            h = block(h, own, mask)
        return modulate(h, last[:, 0], last[:, 1])


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(1 + scale) LN(h) + shift, from h [B, tokens, dim] and shift and scale [B, 1, dim]."""
    return torch.addcmul(shift, functional.layer_norm(h, h.shape[2:]), 1 + scale)
