"""The parts of a policy that are exported: encoder, and denoiser for a sampler that stays outside."""

from __future__ import annotations

from torch import Tensor, nn

from robolearn.policies.chunk_policy import ChunkPolicy


class EncoderGraph(nn.Module):
    """(observation_1, ..., observation_k) -> observed; once per chunk.

    State is normalised, pictures are uint8 [B, n_obs_steps, height, width, 3].
    """

    def __init__(self, policy: ChunkPolicy) -> None:
        """Wrap the policy's encoder; its weights are shared."""
        super().__init__()
        self.encoder, self.network = policy.encoder, policy.network
        self.training = policy.training

    def forward(self, *observations: Tensor) -> Tensor:
        """Return the embedded observations [B, ...] from channels [B, n_obs_steps, ...] in the policy's order."""
        return self.network.observe(self.encoder(observations))


class DenoiserGraph(nn.Module):
    """(observed, sample, time[, step]) -> prediction; once per evaluation by the sampler."""

    def __init__(self, policy: ChunkPolicy) -> None:
        """Wrap the policy's network; its weights are shared."""
        super().__init__()
        self.network = policy.network
        self.training = policy.training

    def forward(self, observed: Tensor, sample: Tensor, time: Tensor, step: Tensor | None = None) -> Tensor:
        """Return the prediction [B, horizon, action_dim], or [1 + N, B, horizon, action_dim] of N mixed horizons."""
        prediction: Tensor = self.network(sample, time, observed, step)
        return prediction
