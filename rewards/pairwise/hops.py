"""Signed hops: how far one frame is from another, as a share of what was left or of what had been reached.

Source: Robo-Dopamine (Tan et al. 2025), general process reward.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-6


def hop_between(before: Tensor, after: Tensor) -> Tensor:
    """Return the hop [...] in [-1, 1] from progress `before` [...] to progress `after` [...], both in [0, 1].

    H = (after - before) / (1 - before) if after >= before, else (after - before) / before
    """
    gain = after - before
    room = torch.where(gain >= 0, 1 - before, before)
    return (gain / room.clamp(min=EPSILON)).clamp(-1.0, 1.0)


def advanced(before: Tensor, hop: Tensor) -> Tensor:
    """Undo `hop_between`: return the progress [...] after a hop [...]."""
    return before + torch.where(hop >= 0, 1 - before, before) * hop


def consistency(forward: Tensor, backward: Tensor, *, sharpness: float) -> Tensor:
    """Return how well two estimates of progress [...] agree, in (0, 1].

    w = exp(-a D^2), D = |backward - forward| / mean of both
    """
    mean = (forward + backward) / 2
    return torch.exp(-sharpness * ((backward - forward) / mean.clamp(min=EPSILON)).square())
