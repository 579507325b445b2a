"""Proximal policy optimisation in a batch of worlds: the teacher of any task of the simulator.

Schulman et al., "Proximal Policy Optimization Algorithms", 2017; the step size follows the measured divergence as in
Rudin et al., "Learning to Walk in Minutes Using Massively Parallel Deep Reinforcement Learning", 2021.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robolearn.config import PPOConfig
from robolearn.rl.proximal import clipped_loss


class Rollout(NamedTuple):
    """`T` control steps of `n` worlds, and what is computed from them.

    Attributes:
        obs: features of the actor [T, n, obs_dim].
        extra: what the critic alone may read [T, n, extra_dim].
        action: in units of the actor [T, n, action_dim].
        log_prob: of the action when it was taken [T, n].
        mean: of the actor's distribution then [T, n, action_dim].
        advantage: [T, n].
        value_target: [T, n].
        advice: what a policy that is imitated would do [T, n, m], the first m components of an action; m is 0 without.
    """

    obs: Tensor
    extra: Tensor
    action: Tensor
    log_prob: Tensor
    mean: Tensor
    advantage: Tensor
    value_target: Tensor
    advice: Tensor


class RunningScale(nn.Module):
    """Features less their running mean, in running deviations (Chan et al., 1979), clipped at 5."""

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, dim: int) -> None:
        """Begin at mean 0 and variance 1."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("var", torch.ones(dim, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(1e-4, dtype=torch.float64))

    def update(self, x: Tensor) -> None:
        """Take in a batch [n, dim]."""
        batch = x.double()
        n, mean, var = len(batch), batch.mean(0), batch.var(0, unbiased=False)
        total, shift = self.count + n, mean - self.mean
        self.var = (self.var * self.count + var * n + shift**2 * self.count * n / total) / total
        self.mean = self.mean + shift * n / total
        self.count = total

    def forward(self, x: Tensor) -> Tensor:
        """Scaled features."""
        scaled = (x - self.mean.float()) / (self.var.float() + 1e-4).sqrt()
        return scaled.clamp(-5.0, 5.0)


class ActorCritic(nn.Module):
    """A Gaussian actor with one deviation per component, and a critic that may read more than the actor."""

    def __init__(self, obs_dim: int, extra_dim: int, action_dim: int, *, hidden: int, initial_std: float) -> None:
        """Two networks of two hidden layers each."""
        super().__init__()
        self.scale = RunningScale(obs_dim)
        self.actor = _mlp(obs_dim, action_dim, hidden, last_gain=0.01)
        self.critic = _mlp(obs_dim + extra_dim, 1, hidden, last_gain=1.0)
        self.log_std = nn.Parameter(torch.full((action_dim,), math.log(initial_std)))

    def mean(self, obs: Tensor) -> Tensor:
        """Mean action [n, action_dim]."""
        return self.actor(self.scale(obs))

    def value(self, obs: Tensor, extra: Tensor) -> Tensor:
        """Value [n]."""
        return self.critic(torch.cat((self.scale(obs), extra), dim=-1)).squeeze(-1)

    def log_prob(self, mean: Tensor, action: Tensor) -> Tensor:
        """Log-density [n] of actions."""
        z = (action - mean) / self.log_std.exp()
        return -(0.5 * z**2 + self.log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Tensor:
        """Entropy of the action's distribution."""
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum()


def _mlp(inputs: int, outputs: int, hidden: int, *, last_gain: float) -> nn.Sequential:
    layers = [nn.Linear(inputs, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, outputs)]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight, last_gain if layer is layers[-1] else math.sqrt(2))
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def imitation_loss(mean: Tensor, advice: Tensor) -> Tensor:
    """Mean of ||mu - a*||^2 over the first m components of `mean` [B, action_dim], of which `advice` [B, m] has a*."""
    return (mean[:, : advice.shape[1]] - advice).square().sum(dim=-1).mean()


class PPOLearner:
    """Networks and optimiser; `update` is one iteration on a rollout."""

    def __init__(self, obs_dim: int, extra_dim: int, action_dim: int, config: PPOConfig, *, seed: int) -> None:
        """Make networks for these sizes."""
        torch.manual_seed(seed)
        self.config = config
        self.generator = torch.Generator().manual_seed(seed)
        self.net = ActorCritic(obs_dim, extra_dim, action_dim, hidden=config.hidden, initial_std=config.initial_std)
        self.learning_rate = config.learning_rate
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate, eps=1e-5)

    @torch.no_grad()
    def act(self, obs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Draw actions: action [n, action_dim], its log-density [n], the mean."""
        mean = self.net.mean(obs)
        noise = torch.randn(mean.shape, generator=self.generator)
        action = mean + self.net.log_std.exp() * noise
        return action, self.net.log_prob(mean, action), mean

    def update(self, rollout: Rollout, *, share: float, imitation: float = 0.0) -> dict[str, float]:
        """Epochs of minibatches over a rollout; returns figures for the log.

        `share` in [0, 1] is how much of the training is over. In the last part of it the largest deviation falls from
        the initial to the final one, geometrically: wide noise finds what to do, narrow noise makes the mean do it.
        `imitation` weighs the distance from the rollout's advice.
        """
        flat = Rollout(*(x.flatten(0, 1) for x in rollout))
        advantage = (flat.advantage - flat.advantage.mean()) / (flat.advantage.std() + 1e-8)
        old_std = self.net.log_std.detach().exp()
        sums: dict[str, float] = {}
        for _ in range(self.config.epochs):
            order = torch.randperm(len(advantage), generator=self.generator)
            for part in order.chunk(self.config.minibatches):
                batch = Rollout(*(x[part] for x in flat))
                losses = self.losses(batch, advantage[part], old_std)
                self._follow(float(losses["divergence"]))
                total = (
                    losses["policy"]
                    + self.config.value_weight * losses["value"]
                    - self.config.entropy_weight * losses["entropy"]
                )
                if imitation:
                    losses["imitation"] = imitation_loss(self.net.mean(batch.obs), batch.advice)
                    total = total + imitation * losses["imitation"]
                self.optimizer.zero_grad(set_to_none=True)
                total.backward()
                nn.utils.clip_grad_norm_(self.net.parameters(), self.config.max_grad_norm)
                self.optimizer.step()
                for key, value in losses.items():
                    sums[key] = sums.get(key, 0.0) + float(value.detach())
        with torch.no_grad():
            fallen = min(max(1 - (1 - share) / self.config.std_decay, 0.0), 1.0)
            largest = self.config.initial_std ** (1 - fallen) * self.config.final_std**fallen
            self.net.log_std.clamp_(max=math.log(largest))
        updates = self.config.epochs * self.config.minibatches
        return {key: total / updates for key, total in sums.items()}

    def losses(self, batch: Rollout, advantage: Tensor, old_std: Tensor) -> dict[str, Tensor]:
        """Equation 9 of Schulman et al., 2017, term by term, and KL(old || new) of the Gaussians.

        L_clip = mean min(rho A, clip(rho, 1 - eps, 1 + eps) A) with rho the ratio of new to old density.
        """
        mean, std = self.net.mean(batch.obs), self.net.log_std.exp()
        log_ratio = self.net.log_prob(mean, batch.action) - batch.log_prob
        policy = clipped_loss(log_ratio, advantage, self.config.clip).mean()
        value = (self.net.value(batch.obs, batch.extra) - batch.value_target).pow(2).mean()
        with torch.no_grad():
            kl = (std / old_std).log() + (old_std**2 + (batch.mean - mean) ** 2) / (2 * std**2) - 0.5
        return {"policy": policy, "value": value, "entropy": self.net.entropy(), "divergence": kl.sum(-1).mean()}

    def _follow(self, divergence: float) -> None:
        """Shrink the step where the policy moved too far, grow it where it hardly moved."""
        if divergence > 2 * self.config.target_kl:
            self.learning_rate = max(1e-5, self.learning_rate / 1.5)
        elif 0 < divergence < self.config.target_kl / 2:
            self.learning_rate = min(1e-3, self.learning_rate * 1.5)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
