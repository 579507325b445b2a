"""Exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """avg <- d avg + (1 - d) weights, with d = min(decay, (1 + k) / (10 + k)) at update k.

    The warm-up lets the average forget the random initialisation however short the run is.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        """Start from the model's current parameters."""
        self.decay = decay
        self.updates = 0
        self._live = dict(model.named_parameters())
        self.average = {name: p.detach().clone() for name, p in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the model's current parameters."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.average.values()), list(self._live.values()), 1 - decay)
        self.updates += 1

    @torch.no_grad()
    def load(self, average: Mapping[str, Tensor], *, updates: int) -> None:
        """Go on from a saved average."""
        self.updates = updates
        for name, tensor in self.average.items():
            tensor.copy_(average[name])

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Overwrite the model's parameters with the average."""
        for name, parameter in self._live.items():
            parameter.copy_(self.average[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the averaged parameters inside the block."""
        kept = {name: p.detach().clone() for name, p in self._live.items()}
        self.copy_to_model()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self._live.items():
                    parameter.copy_(kept[name])
