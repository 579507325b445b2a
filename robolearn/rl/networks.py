"""Small networks of the RL algorithms."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class EnsembleMLP(nn.Module):
    """E multi-layer perceptrons with LayerNorm, evaluated as one batched product.

    LayerNorm bounds the critic's extrapolation to actions outside the data (Ball et al., "Efficient Online
    RL with Offline Data", 2023).
    """

    def __init__(self, inputs: int, outputs: int, *, hidden: int, layers: int = 2, heads: int = 1) -> None:
        """Make `heads` networks with `layers` hidden layers of `hidden` units."""
        super().__init__()
        sizes = [inputs, *[hidden] * layers, outputs]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for a, b in itertools.pairwise(sizes):
            bound = 1 / math.sqrt(a)
            self.weights.append(nn.Parameter(torch.empty(heads, a, b).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(heads, 1, b).uniform_(-bound, bound)))
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """[batch, inputs] -> [heads, batch, outputs]."""
        y = x.expand(self.heads, *x.shape)
        last = len(self.weights) - 1
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            y = torch.baddbmm(bias, y, weight)
            if k < last:
                y = functional.silu(functional.layer_norm(y, y.shape[-1:]))
        return y

    def zero_last(self) -> None:
        """Make every output zero until the first update."""
        nn.init.zeros_(self.weights[-1])
        nn.init.zeros_(self.biases[-1])
