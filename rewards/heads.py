"""Small networks on top of features."""

from __future__ import annotations

from torch import nn


def head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return a network of one hidden layer."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))
