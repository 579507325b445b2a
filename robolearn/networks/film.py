"""Layers that a condition moves: feature-wise linear modulation (FiLM, Perez et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Film(nn.Module):
    """h -> h (1 + scale(c)) + shift(c) per channel; at first the identity."""

    def __init__(self, channels: int, condition_dim: int) -> None:
        """Build it for features of so many channels."""
        super().__init__()
        self.linear = nn.Linear(condition_dim, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Return the features moved.

        Args:
            h: maps [B, channels, height, width], tokens [B, tokens, channels] or vectors [B, channels].
            condition: [B, condition_dim].
        """
        scale, shift = self.linear(condition).chunk(2, dim=1)
        if h.ndim == 4:
            scale, shift = scale[:, :, None, None], shift[:, :, None, None]
        elif h.ndim == 3:
            scale, shift = scale[:, None], shift[:, None]
        return torch.addcmul(shift, h, 1 + scale)


class Stack(nn.Sequential):
    """Layers one after another, of which those of `Film` are given the condition too."""

    def forward(self, h: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return what the last layer gives."""
        for layer in self:
            h = layer(h, condition) if isinstance(layer, Film) else layer(h)
        return h
