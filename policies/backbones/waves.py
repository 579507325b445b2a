"""Sinusoidal embedding of flow or diffusion time."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Waves(nn.Module):
    """t -> (sin f t, cos f t) for geometrically spaced frequencies f (Vaswani et al. 2017)."""

    def __init__(self, first: float, last: float, count: int) -> None:
        """Use `count` frequencies from 10^first to 10^last rad per unit of time."""
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.logspace(first, last, count), persistent=False)

    def forward(self, time: Tensor, step: Tensor | None = None) -> Tensor:
        """Return [B, 2 count], or [B, 4 count] with the step size embedded likewise, from times in [0, 1] [B]."""
        embedded = self._embed(time)
        return embedded if step is None else torch.cat((embedded, self._embed(step)), dim=1)

    def _embed(self, time: Tensor) -> Tensor:
        angle = time[:, None] * self.frequencies
        return torch.cat((torch.sin(angle), torch.cos(angle)), dim=1)
