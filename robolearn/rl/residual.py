"""Residual off-policy RL on a frozen chunk policy (Ankile et al., "Residual Off-Policy RL", 2025).

Each control step executes a = clip(a_base + s tanh(mu(o, a_base)) + noise, -1, 1) in normalised units. The
critics see (o, a) only. Three things keep an untrained critic from being exploited: critics that learn alone first, an
actor loss in units of the mean |Q|, and a penalty on the residual that decays. Where it is to decay far, noise on the
action that is valued, in the target and in the actor's loss, makes no narrow peak of Q worth climbing (SAC and RLPD do
so by their entropy).

Who is evaluated and kept has a running average of the actor's weights: the actor follows every whim of its critics, and
does so at once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.acting import Acting
from robolearn.config import ResidualConfig
from robolearn.errors import UserError, nearest
from robolearn.protocols import Policy
from robolearn.rl.chunks import least_of_two
from robolearn.rl.correction import Exploration, ResidualActor, ResidualCorrection, save_residual
from robolearn.rl.experience import Batch, Experience
from robolearn.rl.interaction import BASE
from robolearn.rl.networks import critics, descend, follow, frozen, optimizers
from robolearn.rl.observer import Observer
from robolearn.rl.online import Clock
from robolearn.rl.units import Units

GRIPPER = "gripper"  # how the names of grippers' components begin


class Residual:
    """Networks, losses and updates; see `robolearn.rl.online.Algorithm`."""

    def __init__(self, config: ResidualConfig, *, policy: Policy, units: Units, seed: int) -> None:
        """Initialise from a seed, on top of a policy."""
        scale = scale_of(config.residual_scale, units.action_names)
        torch.manual_seed(seed)
        self.config, self.policy, self.units, self.clock = config, policy, units, Clock()
        self.actor = ResidualActor(Observer(units), len(scale), hidden=config.hidden, scale=scale)
        self.critic = critics(self.actor.observer.dim + len(scale), config)
        self.actor_target = copy.deepcopy(self.actor).requires_grad_(False)
        self.averaged = copy.deepcopy(self.actor).requires_grad_(False)
        self.critic_target = copy.deepcopy(self.critic).requires_grad_(False)
        self.modules: dict[str, nn.Module] = {
            "critic": self.critic,
            "actor_target": self.actor_target,
            "averaged": self.averaged,
            "critic_target": self.critic_target,
        }
        self.optimizers = optimizers(self.actor.net, self.critic, self.actor.observer, config)
        self.generator = torch.Generator().manual_seed(seed)

    def acting(self, rng: np.random.Generator | None) -> Acting:
        """See `robolearn.rl.online.Algorithm.acting`."""
        if rng is None:
            return Acting(self.policy, ResidualCorrection(self.averaged, self.units))
        correction = ResidualCorrection(self.actor, self.units)
        noise, spread = self.config.exploration_noise, self.config.noise_spread
        return Acting(self.policy, Exploration(correction, rng, share=self._share, noise=noise, spread=spread))

    def _share(self) -> float:
        """Share of the steps in which exploration uses the residual (Yuan et al., "Policy Decorator", 2024)."""
        if not self.config.progressive_steps:
            return 1.0
        return min(max(self.clock.steps - self.config.warmup_steps, 0) / self.config.progressive_steps, 1.0)

    def critic_loss(self, batch: Batch) -> Tensor:
        """Mean over heads of the squared TD error; y = R + gamma^k min_2 Q'(o', a'), values within their bounds."""
        with torch.no_grad():
            seen = self.actor_target.observer(batch.after)
            base = batch.after[BASE]
            action = self.actor_target.combine(base, self.actor_target(seen, base))
            action = self._noisy(action, self.config.target_noise)
            value = least_of_two(self.critic_target, seen, action, self.generator)
            target = batch.reward + batch.discount * batch.bounded(value)
        seen = self.actor.observer(batch.frames)
        q = self.critic(torch.cat((seen, batch.action[:, 0]), dim=-1))[..., 0]
        return functional.mse_loss(q, target.expand_as(q))

    def actor_loss(self, batch: Batch, *, penalty: float) -> tuple[Tensor, Tensor]:
        """-mean(Q) / mean |Q| + W mean ||residual||^2, Q at the combined action with noise; also the residual.

        |Q| is what it would be without shaping: what values lose by that says nothing about their size.
        """
        with torch.no_grad():
            seen = self.actor.observer(batch.frames)
        base = batch.frames[BASE]
        residual = self.actor(seen, base)
        q = self.critic(seen, self._noisy(self.actor.combine(base, residual), self.config.actor_noise))
        whole = q.detach().mean(dim=0)[:, 0] + batch.offset
        scale = whole.abs().mean().clamp_min(1e-3) if self.config.normalise_q else 1.0
        return -q.mean() / scale + penalty * residual.square().sum(dim=-1).mean(), residual

    def _noisy(self, action: Tensor, deviation: float) -> Tensor:
        if not deviation:
            return action
        noise = torch.randn(action.shape, generator=self.generator) * deviation
        return (action + noise).clamp(-1, 1)

    def update(self, experience: Experience) -> dict[str, Tensor]:
        """One step of the critics and, every `actor_every` of them, of the actor; the targets follow."""
        config = self.config
        batch = experience.batch(config.batch_size, steps=config.n_step)
        loss = self.critic_loss(batch)
        descend(self.optimizers["critic"], loss)
        follow(self.critic_target.parts, self.critic.parts, config.tau)
        follow(self.actor_target.observer, self.actor.observer, config.tau)  # the critics' target reads it
        follow(self.averaged.observer, self.actor.observer, config.average_tau)  # the critics train it, from the start
        metrics = {"critic_loss": loss.detach()}
        if self.clock.updates > config.critic_warmup_updates and self.clock.updates % config.actor_every == 0:
            penalty = self.penalty()
            with frozen(self.critic.parts):
                actor_loss, residual = self.actor_loss(batch, penalty=penalty)
                descend(self.optimizers["actor"], actor_loss)
            follow(self.actor_target.net, self.actor.net, config.tau)
            follow(self.averaged.net, self.actor.net, config.average_tau)
            metrics |= {"actor_loss": actor_loss.detach(), "residual": residual.detach().abs().mean()}
            metrics["penalty"] = torch.tensor(penalty)
        return metrics

    def penalty(self) -> float:
        """Weight of the squared residual: falls geometrically over `residual_penalty_steps` control steps."""
        config = self.config
        start, end = config.residual_penalty_start, config.residual_penalty_end
        share = min(max(self.clock.steps - config.warmup_steps, 0) / config.residual_penalty_steps, 1.0)
        return start * (end / start) ** share if start > 0 and end > 0 else start + (end - start) * share

    def save(self, folder: Path) -> None:
        """Write the averaged actor beside the base policy in `folder`."""
        save_residual(folder, self.averaged)


def scale_of(scales: Mapping[str, float], names: Sequence[str]) -> list[float]:
    """Scale of each component of the action; "gripper" is for the component whose name begins so, where there is one.

    Raises:
        UserError: a scale is for no component, or a component has none.
    """
    for name in scales:
        if name not in ("default", GRIPPER, *names):
            raise UserError(f"algo.residual_scale.{name} is no component of the action{nearest(name, names)}")
    found = []
    for name in names:
        kind = GRIPPER if name.startswith(GRIPPER) else name
        scale = scales.get(name, scales.get(kind, scales.get("default")))
        if scale is None:
            raise UserError(f"algo.residual_scale has no value for '{name}': give it, or algo.residual_scale.default")
        found.append(scale)
    return found
