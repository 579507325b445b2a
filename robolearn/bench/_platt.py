"""Platt's scaling: probabilities from scores that are none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
CERTAIN = 1e-4  # scores nearer to 0 or 1 than this count alike


def platt(scores: Floats, truths: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope a and offset b of P = sigmoid(a logit(score) + b) (Platt 1999, with his targets short of 0 and 1).

    Args:
        scores: [n] in [0, 1].
        truths: [n].
    """
    import torch
    from torch.nn import functional

    positives, negatives = int(truths.sum()), int((~truths).sum())
    targets = np.where(truths, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    x, y = torch.from_numpy(logit(scores)), torch.from_numpy(targets)
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([line], max_iter=200, line_search_fn="strong_wolfe")

    def surprise() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(line[0] * x + line[1], y)
        loss.backward()
        return loss

    optimizer.step(surprise)
    slope, offset = line.tolist()
    return slope, offset


def logit(score: Floats) -> NDArray[np.float64]:
    """Return log(p / (1 - p)) of scores in [0, 1]."""
    inside = np.clip(score.astype(np.float64), CERTAIN, 1 - CERTAIN)
    return np.log(inside / (1 - inside))
