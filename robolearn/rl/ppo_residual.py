"""PPO of a small residual on a frozen policy, per control step.

Ankile et al., "From Imitation to Refinement: Residual RL for Precise Assembly", 2024 (ResiP): the executed action is
clip(a_base + s u, -1, 1) in normalised units with u ~ N(tanh mu(o, a_base), std^2), of which evaluation takes the mean.
The mean is zero at first. The residual is saved as that of `robolearn.rl.residual` is, and is served alike.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.acting import Acting
from robolearn.config import PPOResidualConfig
from robolearn.protocols import Policy
from robolearn.rl.correction import ResidualActor, ResidualCorrection, save_residual
from robolearn.rl.interaction import BASE
from robolearn.rl.on_policy import Critic, learn, optimizers
from robolearn.rl.online import Clock, Metrics
from robolearn.rl.proximal import clipped_loss, divergence
from robolearn.rl.residual import scale_of
from robolearn.rl.rollouts import Explorer, Rollout
from robolearn.rl.tuned import log_density
from robolearn.rl.units import Frames, Units


class Noise(nn.Module):
    """One deviation per component of the residual."""

    def __init__(self, dim: int, *, initial_std: float) -> None:
        """Begin with the same for all."""
        super().__init__()
        self.log_std = nn.Parameter(torch.full((dim,), math.log(initial_std)))

    def forward(self) -> Tensor:
        """Deviations [dim], as a share of the residual's scale."""
        return self.log_std.exp()


class PPOResidual:
    """Networks, losses and updates; see `robolearn.rl.on_policy.OnPolicyAlgorithm`."""

    def __init__(self, config: PPOResidualConfig, *, policy: Policy, units: Units, seed: int) -> None:
        """Initialise from a seed, on top of a policy."""
        scale = scale_of(config.residual_scale, units.action_names)
        torch.manual_seed(seed)
        self.config, self.policy, self.units, self.clock = config, policy, units, Clock()
        self.critic = Critic(units, hidden=config.hidden)
        # what pictures show is learned from the values alone; the actor reads it
        self.actor = ResidualActor(self.critic.observer, len(scale), hidden=config.hidden, scale=scale)
        self.noise = Noise(len(scale), initial_std=config.initial_std)
        self.modules: dict[str, nn.Module] = {"critic": self.critic, "noise": self.noise}
        tuned = [*self.actor.net.parameters(), *self.noise.parameters()]
        self.optimizers = optimizers(tuned, self.critic, config)
        self.generator = torch.Generator().manual_seed(seed)

    def acting(self, rng: np.random.Generator | None) -> Acting:
        """The base with the mean residual."""
        return Acting(self.policy, ResidualCorrection(self.actor, self.units))

    def exploring(self, rng: np.random.Generator) -> Explorer:
        """See `robolearn.rl.on_policy.OnPolicyAlgorithm.exploring`."""
        drawn = _Drawn(self, rng)
        return Explorer(Acting(self.policy, drawn), lambda: drawn.noted, every_step=True)

    def log_prob(self, frames: dict[str, Tensor], base: Tensor, residual: Tensor) -> Tensor:
        """Log-density [B] of residuals [B, action_dim]."""
        with torch.no_grad():
            seen = self.actor.observer(frames)
        return log_density(residual, self.actor(seen, base), self.noise())

    def log_ratio(self, part: Rollout) -> Tensor:
        """Difference [B] of new and old log-density."""
        return self.log_prob(part.frames, part.note[BASE], part.note["residual"]) - part.note["log_prob"]

    def policy_loss(self, part: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """Clipped objective, less the entropy's weight times the entropy."""
        log_ratio = self.log_ratio(part)
        std = self.noise()
        entropy = (std.log() + 0.5 * math.log(2 * math.pi * math.e)).sum()
        loss = clipped_loss(log_ratio, part.advantage, self.config.clip).mean() - self.config.entropy_weight * entropy
        return loss, {"divergence": divergence(log_ratio), "noise": std.detach().mean()}

    def update(self, rollout: Rollout) -> Metrics:
        """See `robolearn.rl.on_policy.OnPolicyAlgorithm.update`."""
        return learn(self, rollout, self.config)

    def save(self, folder: Path) -> None:
        """Write the actor beside the base policy."""
        save_residual(folder, self.actor)


class _Drawn:
    """A residual drawn at every control step, and what is to be known of it."""

    def __init__(self, algorithm: PPOResidual, rng: np.random.Generator) -> None:
        self.algorithm, self.rng = algorithm, rng
        self.noted: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, observation: Frames, base_action: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `robolearn.acting.Correction`."""
        algorithm, units = self.algorithm, self.algorithm.units
        frames = {key: torch.from_numpy(values) for key, values in units.frame(observation).items()}
        base = torch.from_numpy(units.action(base_action))
        mean = algorithm.actor(algorithm.actor.observer(frames), base)
        std = algorithm.noise()
        noise = torch.from_numpy(self.rng.standard_normal(tuple(mean.shape), np.float32))
        residual = mean + std * noise
        self.noted = {BASE: base, "residual": residual, "log_prob": log_density(residual, mean, std)}
        return units.physical(algorithm.actor.combine(base, residual).numpy())
