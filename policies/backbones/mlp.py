"""A residual MLP over the flattened chunk, modulated by observation and time: small and fast on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.policies.backbones.waves import Waves

TIME_FREQUENCIES = 16


class Block(nn.Module):
    """h <- h + gate(c) * silu(W LN(h) + shift(c)): a residual layer that the embedding c shifts and scales.

    FiLM (Perez et al. 2018) placed around the non-linearity. The gate starts at one. Shift and gate are two layers
    because splitting the output of one costs a copy in the backward pass that is slower than the product on a CPU.
    """

    def __init__(self, *, hidden_dim: int, condition_dim: int) -> None:
        """Build one block."""
        super().__init__()
        self.width = (hidden_dim,)
        self.linear = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.shift = nn.Linear(condition_dim, hidden_dim, bias=False)
        self.gate = nn.Linear(condition_dim, hidden_dim)
        nn.init.zeros_(self.gate.weight)
        nn.init.ones_(self.gate.bias)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Return h [B, hidden_dim] moved by the block, given c [B, condition_dim]."""
        x = torch.addmm(self.shift(condition), functional.layer_norm(h, self.width), self.linear.weight.t())
        return h + self.gate(condition) * functional.silu(x)


class ResidualMLP(nn.Module):
    """How a noisy chunk x at time t moves, given observations o.

    Observations and time become one embedding c that enters with the chunk and modulates every block. The last layer
    starts at zero, so that the untrained prediction is zero.
    """

    def __init__(
        self,
        *,
        observed_dim: int,
        horizon: int,
        action_dim: int,
        hidden_dim: int,
        num_blocks: int,
        condition_dim: int,
        with_step: bool,
    ) -> None:
        """Build the network; widths are those of `ChunkConfig`.

        Args:
            observed_dim: width of the encoded observations.
            horizon: length of the chunk.
            action_dim: width of an action.
            hidden_dim: width of the blocks.
            num_blocks: their number.
            condition_dim: width of the embedding of observation and time.
            with_step: whether the prediction also depends on the sampler's step size.
        """
        super().__init__()
        self.chunk_shape = (horizon, action_dim)
        self.width = (hidden_dim,)
        self.waves = Waves(0.0, 2.0, TIME_FREQUENCIES)
        times = 2 if with_step else 1
        self.observation_in = nn.Linear(observed_dim, 2 * condition_dim)
        self.time_in = nn.Linear(times * 2 * TIME_FREQUENCIES, 2 * condition_dim, bias=False)
        self.condition_out = nn.Linear(2 * condition_dim, condition_dim)
        self.chunk_in = nn.Linear(horizon * action_dim, hidden_dim)
        self.condition_in = nn.Linear(condition_dim, hidden_dim, bias=False)
        self.blocks = nn.ModuleList(
            Block(hidden_dim=hidden_dim, condition_dim=condition_dim) for _ in range(num_blocks)
        )
        self.chunk_out = nn.Linear(hidden_dim, horizon * action_dim)
        nn.init.zeros_(self.chunk_out.weight)
        nn.init.zeros_(self.chunk_out.bias)

    def observe(self, encoded: Tensor) -> Tensor:
        """Embed encoded observations [B, observed_dim]; done once per chunk, however many steps the sampler takes."""
        embedded: Tensor = self.observation_in(encoded)
        return embedded

    def forward(self, sample: Tensor, time: Tensor, observed: Tensor, step: Tensor | None = None) -> Tensor:
        """Return the prediction [B, horizon, action_dim].

        Args:
            sample: the noisy chunk [B, horizon, action_dim].
            time: in [0, 1], [B].
            observed: what `observe` returned.
            step: the sampler's step size [B], for networks `with_step`.
        """
        wave = self.waves(time, step)
        condition = functional.silu(self.condition_out(functional.silu(observed + self.time_in(wave))))
        h = self.chunk_in(sample.flatten(1)) + self.condition_in(condition)
        for block in self.blocks:
            h = block(h, condition)
        prediction: Tensor = self.chunk_out(functional.layer_norm(h, self.width))
        return prediction.unflatten(1, self.chunk_shape)
