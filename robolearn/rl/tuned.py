"""A flow or diffusion policy of ours whose weights on-policy RL changes: what it must offer, and how it explores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.protocols import Observation, Policy
from robolearn.rl.interaction import Acting
from robolearn.rl.rollouts import Explorer
from robolearn.schema import ActionChunk

GIVEN = "given."  # prefix of what the policy read, in the notes of a decision
Sampled = tuple[Tensor, dict[str, Tensor]]


class TunablePolicy(Policy, Protocol):
    """A policy that serves a network of ours.

    Attributes:
        policy: module with `observe(batch)`, `network(x, time, observed[, step])`, `sampler` and `config`.
    """

    policy: Any

    def prepare(self, observation: Observation) -> dict[str, Tensor]:
        """What the module reads."""

    def physical(self, chunk: Tensor) -> NDArray[np.float32]:
        """A chunk of the module in physical units."""

    def write(self, folder: Path) -> None:
        """Write the policy with its present weights."""


def require_tunable(policy: Any, *, samplers: tuple[str, ...], algo: str) -> None:
    """Check that an algorithm can change the weights of a policy.

    Raises:
        UserError: it cannot; the message says of which it could.
    """
    kind = "diffusion" if samplers == ("ddim",) else "flow" if "ddim" not in samplers else "flow or diffusion"
    module = getattr(policy, "policy", None)
    if not isinstance(module, nn.Module) or not hasattr(module, "network") or not hasattr(module, "observe"):
        raise UserError(
            f"algo={algo} changes the weights of a {kind} policy that `robolearn train` made, which this one is not: "
            "give another checkpoint, or algo=ppo_residual, which takes any"
        )
    if getattr(module.config, "horizons", ()):
        raise UserError(f"algo={algo} cannot tune a mixture of horizons: train a policy with policy.horizons=[]")
    sampler: Any = module.sampler
    if (name := sampler["name"]) not in samplers:
        raise UserError(
            f"algo={algo} tunes a {kind} policy that samples by {' or '.join(samplers)}, this one does by {name}: "
            "train another"
        )


class Exploring:
    """Satisfies `robolearn.protocols.Policy` with a sampler of an algorithm's own, and notes what it did.

    Attributes:
        noted: what the sampler told of the newest chunks [n, ...], and what the policy had read, `GIVEN` + its key.
    """

    def __init__(self, policy: TunablePolicy, sample: Callable[[Tensor, Tensor], Sampled], *, draws: int) -> None:
        """Explore.

        Args:
            policy: the base.
            sample: gives chunks [n, horizon, action_dim] and what is to be noted, from what `observe` gave [n, ...] and
                standard noise [n, draws, horizon, action_dim].
            draws: see there.
        """
        self.base, self._sample = policy, sample
        self.schema, self.reads_task = policy.schema, policy.reads_task
        self.n_obs_steps, self.horizon, self.n_action_steps = policy.n_obs_steps, policy.horizon, policy.n_action_steps
        self.noise_shape: tuple[int, ...] | None = (draws, policy.horizon, *policy.schema.action.shape)
        self.noted: dict[str, Tensor] = {}
        self._low = np.array(self.schema.action.low, np.float32)
        self._high = np.array(self.schema.action.high, np.float32)

    @torch.no_grad()
    def predict_chunk(
        self, observation: Observation, noise: NDArray[np.float32] | None = None, n_samples: int = 1
    ) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`; one chunk per observation, from a given noise."""
        if noise is None or n_samples != 1:
            raise ValueError("exploration takes noise, and one sample")
        given = self.base.prepare(observation)
        chunk, note = self._sample(self.base.policy.observe(given), torch.from_numpy(noise))
        self.noted = note | {f"{GIVEN}{key}": x for key, x in given.items()}
        values = self.base.physical(chunk).clip(self._low, self._high)
        return ActionChunk(values, t0=0.0, dt=1.0 / self.schema.fps)

    def explorer(self) -> Explorer:
        """As the loop takes it."""
        return Explorer(Acting(self), lambda: self.noted, every_step=False)


def given(note: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the policy had read, of a decision's notes."""
    return {key.removeprefix(GIVEN): x for key, x in note.items() if key.startswith(GIVEN)}


def log_density(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log-density of N(mean, std^2) at x [..., horizon, action_dim], summed over the components of an action."""
    z = (x - mean) / std
    return -(0.5 * z.square() + std.log() + 0.5 * math.log(2 * math.pi)).sum(dim=-1)


def counted(steps: Tensor, *, denoising: int, horizon: int) -> Tensor:
    """Which terms [B, denoising, horizon] of a chunk's log-likelihood count, for chunks executed for `steps` [B].

    Of the last denoising step only the actions that were executed: the others can be integrated out, for nothing
    depends on them. At the earlier steps they tell the network what to do with the rest.
    """
    counts = torch.ones(len(steps), denoising, horizon)
    counts[:, -1] = (torch.arange(horizon) < steps[:, None]).float()
    return counts
