"""The best of several chunks of a base policy, as a critic judges them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.acting import Acting
from robolearn.config import ChunkedTDConfig, ValueGuidedConfig
from robolearn.on_top import BestOf
from robolearn.protocols import Observation, Policy
from robolearn.rl.chunks import chunk_size, noise_shape_of, values_of
from robolearn.rl.networks import EnsembleMLP
from robolearn.rl.observer import Observer, newest
from robolearn.rl.refinement import Rebuilt, save_refinement
from robolearn.rl.units import Units


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


class BestOfPolicy(BestOf):
    """Plans the chunk that the critic's heads value most in the mean; see `robolearn.on_top.BestOf`."""

    def __init__(
        self, base: Policy, critic: ChunkCritic, units: Units, *, candidates: int, temperature: float = 0.0
    ) -> None:
        """Choose with the critic's present weights.

        Args:
            base: the policy.
            critic: of its chunks.
            units: of its channels.
            candidates: see `BestOf`.
            temperature: see there.

        Raises:
            UserError: the base draws no noise.
        """
        shape = noise_shape_of(base)
        super().__init__(base, self._value, noise_shape=shape, candidates=candidates, temperature=temperature)
        self.critic, self.units = critic, units

    @torch.inference_mode()
    def _value(self, observation: Observation, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        executed = self.units.action(chunks).reshape(*chunks.shape[:2], -1)
        values: NDArray[np.float32] = (
            self.critic(newest(self.units, observation), torch.from_numpy(executed)).mean(dim=0).numpy()
        )
        return values


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
