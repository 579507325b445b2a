"""The velocity network: a residual MLP over the flattened chunk, modulated by observation and time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

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


class VelocityNetwork(nn.Module):
    """v(x, t | o): how a noisy chunk x at flow time t moves, given observations o.

    Observations and time become one embedding c that enters with the chunk and modulates every block. The last layer
    starts at zero, so that the untrained velocity is zero.
    """

    def __init__(
        self,
        *,
        observation_dims: Sequence[int],
        n_obs_steps: int,
        horizon: int,
        action_dim: int,
        hidden_dim: int,
        num_blocks: int,
        condition_dim: int,
    ) -> None:
        """Build the network; widths are those of `FlowConfig`."""
        super().__init__()
        self.chunk_shape = (horizon, action_dim)
        self.width = (hidden_dim,)
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.logspace(0.0, 2.0, TIME_FREQUENCIES), persistent=False)
        observed = n_obs_steps * sum(observation_dims)
        self.observation_in = nn.Linear(observed, 2 * condition_dim)
        self.time_in = nn.Linear(2 * TIME_FREQUENCIES, 2 * condition_dim, bias=False)
        self.condition_out = nn.Linear(2 * condition_dim, condition_dim)
        self.chunk_in = nn.Linear(horizon * action_dim, hidden_dim)
        self.condition_in = nn.Linear(condition_dim, hidden_dim, bias=False)
        self.blocks = nn.ModuleList(
            Block(hidden_dim=hidden_dim, condition_dim=condition_dim) for _ in range(num_blocks)
        )
        self.chunk_out = nn.Linear(hidden_dim, horizon * action_dim)
        nn.init.zeros_(self.chunk_out.weight)
        nn.init.zeros_(self.chunk_out.bias)

    def observe(self, observations: Sequence[Tensor]) -> Tensor:
        """Embed observations [B, n_obs_steps, dim] each; done once per chunk, whatever the number of Euler steps."""
        flat = torch.cat([observation.flatten(1) for observation in observations], dim=1)
        embedded: Tensor = self.observation_in(flat)
        return embedded

    def forward(self, sample: Tensor, time: Tensor, observed: Tensor) -> Tensor:
        """Return the velocity [B, horizon, action_dim] of `sample` at `time` [B], given `observe(...)` [B, .]."""
        angle = time[:, None] * self.frequencies
        wave = torch.cat((torch.sin(angle), torch.cos(angle)), dim=1)
        condition = functional.silu(self.condition_out(functional.silu(observed + self.time_in(wave))))
        h = self.chunk_in(sample.flatten(1)) + self.condition_in(condition)
        for block in self.blocks:
            h = block(h, condition)
        velocity: Tensor = self.chunk_out(functional.layer_norm(h, self.width))
        return velocity.unflatten(1, self.chunk_shape)
