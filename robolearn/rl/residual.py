"""Residual off-policy RL on a frozen chunk policy (Ankile et al., "Residual Off-Policy RL", 2025).

Each control step executes a = clip(a_base + s tanh(mu(o, a_base)) + noise, -1, 1) in normalised units. The
critics see (o, a) only. Three things keep an untrained critic from being exploited: critics that learn
alone first, an actor loss in units of the mean |Q|, and a penalty on the residual that decays.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.config import ResidualConfig
from robolearn.errors import UserError, nearest
from robolearn.rl.networks import EnsembleMLP

Batch = Mapping[str, Tensor]


class ResidualActor(nn.Module):
    """mu(o, a_base) -> tanh in [-1, 1]; zero at first, so that the base's rollouts are unchanged.

    Attributes:
        scale: [action_dim] largest change of each component, as a share of its bounds.
    """

    scale: Tensor

    def __init__(self, obs_dim: int, action_dim: int, *, hidden: int, scale: Sequence[float]) -> None:
        """Make the network; `scale` has one value per component of the action."""
        super().__init__()
        self.net = EnsembleMLP(obs_dim + action_dim, action_dim, hidden=hidden)
        self.net.zero_last()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))

    def forward(self, obs: Tensor, base: Tensor) -> Tensor:
        """Normalised observation [B, obs_dim] and base action [B, action_dim] -> residual [B, action_dim]."""
        return torch.tanh(self.net(torch.cat((obs, base), dim=-1))[0])

    def combine(self, base: Tensor, residual: Tensor) -> Tensor:
        """Executed action clip(a_base + s residual, -1, 1), in normalised units."""
        return (base + self.scale * residual).clamp(-1, 1)

    @torch.inference_mode()
    def act(self, obs: NDArray[np.float32], base: NDArray[np.float32]) -> NDArray[np.float32]:
        """Action [n, action_dim] without noise, of normalised arrays."""
        given = torch.from_numpy(base)
        action: NDArray[np.float32] = self.combine(given, self(torch.from_numpy(obs), given)).numpy()
        return action


class ResidualLearner:
    """Networks, losses and updates."""

    def __init__(self, obs_dim: int, action_names: Sequence[str], config: ResidualConfig, *, seed: int) -> None:
        """Initialise from a seed, for actions with these components."""
        action_dim, scale = len(action_names), scale_of(config.residual_scale, action_names)
        torch.manual_seed(seed)
        self.config = config
        self.actor = ResidualActor(obs_dim, action_dim, hidden=config.hidden, scale=scale)
        self.critic = EnsembleMLP(obs_dim + action_dim, 1, hidden=config.hidden, heads=config.num_critics)
        self.best_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.actor_target = copy.deepcopy(self.actor).requires_grad_(False)
        self.critic_target = copy.deepcopy(self.critic).requires_grad_(False)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=config.actor_lr, fused=True)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=config.critic_lr, fused=True)
        self.generator = torch.Generator().manual_seed(seed)

    def critic_loss(self, batch: Batch) -> Tensor:
        """Mean over heads of the squared TD error; y = R + gamma^k min_2 Q'(o', a'), values in [0, 1]."""
        with torch.no_grad():
            action = self.actor.combine(batch["next_base"], self.actor_target(batch["next_obs"], batch["next_base"]))
            noise = torch.randn(action.shape, generator=self.generator) * self.config.target_noise
            values = self.critic_target(torch.cat((batch["next_obs"], (action + noise).clamp(-1, 1)), dim=-1))
            pair = torch.randperm(len(values), generator=self.generator)[:2]
            value = values[pair, :, 0].amin(dim=0).clamp(0, 1)
            target = batch["reward"] + batch["discount"] * value
        q = self.critic(torch.cat((batch["obs"], batch["action"]), dim=-1))[..., 0]
        return (q - target).square().mean()

    def actor_loss(self, batch: Batch, *, penalty: float) -> tuple[Tensor, Tensor]:
        """-mean(Q) / mean |Q| + W mean ||residual||^2; also the residual."""
        residual = self.actor(batch["obs"], batch["base"])
        action = self.actor.combine(batch["base"], residual)
        q = self.critic(torch.cat((batch["obs"], action), dim=-1))[..., 0].mean(dim=0)
        scale = q.abs().mean().detach().clamp_min(1e-3)
        return -q.mean() / scale + penalty * residual.square().sum(dim=-1).mean(), residual

    def update(self, batch: Batch, *, actor: bool, penalty: float) -> dict[str, Tensor]:
        """One step of the critics and, if asked, of the actor; the targets follow."""
        loss = self.critic_loss(batch)
        _step(self.critic_optimizer, loss, self.critic)
        metrics = {"critic_loss": loss.detach()}
        follow: list[tuple[nn.Module, nn.Module]] = [(self.critic, self.critic_target)]
        if actor:
            self.critic.requires_grad_(False)
            actor_loss, residual = self.actor_loss(batch, penalty=penalty)
            _step(self.actor_optimizer, actor_loss, self.actor)
            self.critic.requires_grad_(True)
            metrics |= {"actor_loss": actor_loss.detach(), "residual": residual.detach().abs().mean()}
            follow.append((self.actor, self.actor_target))
        with torch.no_grad():
            for source, target in follow:
                torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), self.config.tau)
        return metrics


def scale_of(scales: Mapping[str, float], names: Sequence[str]) -> list[float]:
    """Scale of each component of the action.

    Raises:
        UserError: a scale is for no component, or a component has none.
    """
    for name in scales:
        if name != "default" and name not in names:
            raise UserError(f"algo.residual_scale.{name} is no component of the action{nearest(name, names)}")
    missing = [name for name in names if name not in scales and "default" not in scales]
    if missing:
        raise UserError(f"algo.residual_scale has no value for '{missing[0]}': give it, or algo.residual_scale.default")
    return [scales.get(name, scales.get("default", 0.0)) for name in names]


def _step(optimizer: torch.optim.Optimizer, loss: Tensor, module: nn.Module) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()


def as_tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """The same fields as tensors."""
    return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in arrays.items()}
