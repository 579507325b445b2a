"""The part of the flow policy that is exported: one evaluation of the velocity; the sampler stays outside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robolearn.policies.flow.modeling_flow import FlowPolicy


class VelocityGraph(nn.Module):
    """(observation_1, ..., observation_k, sample, time) -> velocity, all in normalised units.

    Attributes:
        input_names: the observation channels in order, then "sample" and "time".
        output_names: "velocity".
    """

    def __init__(self, policy: FlowPolicy) -> None:
        """Wrap the policy's network; its weights are shared."""
        super().__init__()
        self.network = policy.network
        self.input_names = (*policy.config.observation_keys, "sample", "time")
        self.output_names = ("velocity",)
        self._dims = policy.config.observation_dims
        self._n_obs_steps = policy.config.n_obs_steps

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the velocity [B, horizon, action_dim].

        Args:
            inputs: each observation [B, n_obs_steps, dim], the sample [B, horizon, action_dim], the time [B].
        """
        *observations, sample, time = inputs
        velocity: Tensor = self.network(sample, time, self.network.observe(observations))
        return velocity

    def example_inputs(self, batch: int = 2) -> tuple[Tensor, ...]:
        """Return zeros of the right shapes, for tracing."""
        observations = [torch.zeros(batch, self._n_obs_steps, dim) for dim in self._dims]
        return (*observations, torch.zeros(batch, *self.network.chunk_shape), torch.zeros(batch))
