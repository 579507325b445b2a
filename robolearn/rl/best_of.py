"""The best of several chunks of a base policy, as a critic judges them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.config import ChunkedTDConfig, ValueGuidedConfig
from robolearn.protocols import Observation, Policy
from robolearn.rl.chunks import chunk_size, noise_shape_of, values_of
from robolearn.rl.interaction import Acting
from robolearn.rl.networks import EnsembleMLP
from robolearn.rl.observer import Observer, newest
from robolearn.rl.refinement import Rebuilt, save_refinement
from robolearn.rl.units import Units
from robolearn.schema import ActionChunk


class ChunkCritic(nn.Module):
    """Values of chunks at what is seen; all alike until something is learned, so that the first candidate is taken.

    Attributes:
        observer: gives what is seen.
        net: see `robolearn.rl.chunks.values_of`.
    """

    def __init__(self, units: Units, chunk: int, *, hidden: int, heads: int, layer_norm: bool) -> None:
        """Make the networks, for chunks of so many numbers."""
        super().__init__()
        self.observer = Observer(units)
        self.net = EnsembleMLP(self.observer.dim + chunk, 1, hidden=hidden, heads=heads, layer_norm=layer_norm)
        self.net.zero_last()

    def forward(self, frames: Mapping[str, Tensor], chunks: Tensor) -> Tensor:
        """Every head's value [heads, B, ...] of chunks [B, ..., h * action_dim] at frames [B, ...]."""
        return values_of(self.net, self.observer(frames), chunks)


def chunk_critic(config: ChunkedTDConfig | ValueGuidedConfig, policy: Policy, units: Units) -> ChunkCritic:
    """An untrained one for the chunks of a policy."""
    heads = config.num_critics
    return ChunkCritic(units, chunk_size(policy), hidden=config.hidden, heads=heads, layer_norm=config.layer_norm)


class BestOfPolicy:
    """Samples several chunks of a base at once and plans the one that the critic's heads value most in the mean.

    Satisfies `robolearn.protocols.Policy`. Its noise is that of all the candidates: one candidate is the base, bit for
    bit. V-GPS (Nakamoto et al., "Steering Your Generalists", 2024) draws by the softmax of the values instead; the last
    noise then decides which.
    """

    def __init__(
        self,
        base: Policy,
        critic: ChunkCritic,
        units: Units,
        *,
        candidates: int,
        temperature: float = 0.0,
    ) -> None:
        """Choose with the critic's present weights.

        Args:
            base: the policy.
            critic: of its chunks.
            units: of its channels.
            candidates: chunks to choose from.
            temperature: of the softmax draw; 0 takes the best.
        """
        self.base, self.critic, self.units = base, critic, units
        self.candidates, self.temperature = candidates, temperature
        self.schema, self.reads_task = base.schema, base.reads_task
        self.n_obs_steps, self.horizon, self.n_action_steps = base.n_obs_steps, base.horizon, base.n_action_steps
        self._shape = (candidates + (temperature > 0), *noise_shape_of(base))
        self.noise_shape: tuple[int, ...] | None = self._shape

    def predict_chunk(
        self, observation: Observation, noise: NDArray[np.float32] | None = None, n_samples: int = 1
    ) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`."""
        if noise is None:
            batch = len(observation[self.schema.observation_keys[0]])
            noise = torch.randn(batch * n_samples, *self._shape).numpy()
        total = n_samples * self.candidates
        asked = np.ascontiguousarray(noise[:, : self.candidates]).reshape(-1, *self._shape[1:])
        chunk = self.base.predict_chunk(observation, asked, total)
        values = chunk.values.reshape(-1, total, *chunk.values.shape[-2:])
        best = self._choose(observation, values, noise)
        picked = np.arange(len(best)), best
        grouped = values.reshape(len(best), self.candidates, *values.shape[-2:])[picked]
        valid = None if chunk.n_valid is None else chunk.n_valid.reshape(len(best), self.candidates)[picked]
        shape = (n_samples,) if n_samples > 1 else ()
        return ActionChunk(
            grouped.reshape(len(values), *shape, *values.shape[-2:]),
            chunk.t0,
            chunk.dt,
            None if valid is None else valid.reshape(len(values), *shape),
        )

    @torch.inference_mode()
    def _choose(
        self, observation: Observation, values: NDArray[np.float32], noise: NDArray[np.float32]
    ) -> NDArray[np.intp]:
        """Index of one candidate [B * n_samples] for chunks [B, n_samples * candidates, horizon, action_dim]."""
        if self.candidates == 1:
            return np.zeros(len(noise), np.intp)
        executed = self.units.action(values[:, :, : self.n_action_steps]).reshape(*values.shape[:2], -1)
        values_of_all = self.critic(newest(self.units, observation), torch.from_numpy(executed))
        scores = values_of_all.mean(dim=0).reshape(len(noise), self.candidates)
        if self.temperature == 0:
            return scores.argmax(dim=1).numpy()
        cumulated = (scores / self.temperature).softmax(dim=1).cumsum(dim=1)
        draw = _uniform(noise[:, -1].reshape(len(noise), -1)[:, 0])
        chosen = torch.searchsorted(cumulated, torch.from_numpy(draw)[:, None])[:, 0]
        return chosen.clamp(max=self.candidates - 1).numpy()


def _uniform(gaussian: NDArray[np.float32]) -> NDArray[np.float32]:
    """The Gaussian distribution function: uniform in [0, 1] for Gaussian noise."""
    return np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in gaussian], np.float32)


def save_best_of(folder: Path, critic: ChunkCritic, *, candidates: int, temperature: float) -> None:
    """Write the critic beside the base policy in `folder`."""
    weights = critic.net.weights[0]
    settings = {
        "hidden": weights.shape[2],
        "heads": weights.shape[0],
        "layer_norm": critic.net.layer_norm,
        "candidates": candidates,
        "temperature": temperature,
    }
    save_refinement(folder, "best_of", settings, critic)


def rebuild(settings: Mapping[str, Any], policy: Policy, units: Units) -> Rebuilt:
    """See `robolearn.rl.refinement`."""
    sizes = {key: settings[key] for key in ("hidden", "heads", "layer_norm")}
    critic = ChunkCritic(units, chunk_size(policy), **sizes)
    how = {key: settings[key] for key in ("candidates", "temperature")}
    return Rebuilt(critic, Acting(BestOfPolicy(policy, critic, units, **how)))
