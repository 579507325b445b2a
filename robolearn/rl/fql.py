"""Flow Q-learning (Park et al., "Flow Q-Learning", 2025), with the base policy as the behaviour's flow.

A policy of one step mu(s, z) takes the base's place: it maps what is seen and noise straight to a chunk. It is
distilled from the base and improved by the critic,

    Q(s, a) <- R + gamma^k min Q'(s', mu(s', z')),
    mu minimises  beta ||mu(s, z) - base(s, z)||^2 - Q(s, mu(s, z)) / mean |Q|,

so that no gradient passes through the base's steps. The critic takes part once it has learned alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.acting import Acting
from robolearn.config import FQLConfig
from robolearn.data.replay import Trajectory
from robolearn.protocols import Observation, Policy
from robolearn.rl.chunks import (
    PLANS,
    PLANS_NOISE,
    chunk_size,
    chunk_target,
    least_of_two,
    noise_shape_of,
    values_of,
    with_plans,
)
from robolearn.rl.experience import Batch, Experience
from robolearn.rl.networks import EnsembleMLP, critics, descend, follow, frozen, optimizers
from robolearn.rl.observer import Observer, newest
from robolearn.rl.online import Clock
from robolearn.rl.refinement import Rebuilt, save_refinement
from robolearn.rl.units import Units
from robolearn.schema import ActionChunk


class OneStepActor(nn.Module):
    """mu(s, z).

    Attributes:
        observer: gives what is seen.
    """

    def __init__(self, observer: Observer, noise_dim: int, chunk: int, *, hidden: int) -> None:
        """Make the network, for chunks of so many numbers."""
        super().__init__()
        self.observer = observer
        self.net = EnsembleMLP(observer.dim + noise_dim, chunk, hidden=hidden)

    def forward(self, seen: Tensor, noise: Tensor) -> Tensor:
        """Chunk [B, h * action_dim] in [-1, 1] from what is seen [B, dim] and noise [B, noise_dim]."""
        return torch.tanh(self.net(seen, noise)[0])


class OneStepPolicy:
    """The actor as a `robolearn.protocols.Policy`, for the channels and with the noise of its base."""

    reads_task = False

    def __init__(
        self, base: Policy, actor: OneStepActor, units: Units, *, learned: Callable[[], bool] | None = None
    ) -> None:
        """Act with the actor's present weights.

        Args:
            base: the policy that it was distilled from.
            actor: the network.
            units: of the base's channels.
            learned: tells whether the actor is to act at the moment, always when None; else the base does.
        """
        self.base, self.actor, self.units, self.learned = base, actor, units, learned
        self.schema, self.n_obs_steps, self.n_action_steps = base.schema, base.n_obs_steps, base.n_action_steps
        self.horizon = base.n_action_steps
        self.noise_shape: tuple[int, ...] | None = noise_shape_of(base)
        self.reads_task = learned is not None and base.reads_task

    @torch.inference_mode()
    def predict_chunk(
        self, observation: Observation, noise: NDArray[np.float32] | None = None, n_samples: int = 1
    ) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`."""
        if self.learned is not None and not self.learned():
            chunk = self.base.predict_chunk(observation, noise, n_samples)
            valid = None if chunk.n_valid is None else np.minimum(chunk.n_valid, self.horizon)
            return ActionChunk(chunk.values[..., : self.horizon, :], chunk.t0, chunk.dt, valid)
        seen = self.actor.observer(newest(self.units, observation)).repeat_interleave(n_samples, dim=0)
        width = math.prod(noise_shape_of(self.base))
        given = torch.randn(len(seen), width) if noise is None else torch.from_numpy(noise).flatten(1)
        chunk = self.actor(seen, given).numpy().reshape(len(seen), self.horizon, -1)
        values = self.units.physical(chunk)
        shape = (-1, n_samples) if n_samples > 1 else (-1,)
        return ActionChunk(values.reshape(*shape, *values.shape[1:]), 0.0, 1 / self.schema.fps)


class FQL:
    """Networks, losses and updates; see `robolearn.rl.online.Algorithm`."""

    def __init__(self, config: FQLConfig, *, policy: Policy, units: Units, seed: int) -> None:
        """Initialise from a seed, on top of a policy that draws noise."""
        self.config, self.policy, self.units, self.clock = config, policy, units, Clock()
        self._noise_dim = math.prod(noise_shape_of(policy))
        torch.manual_seed(seed)
        self.actor = OneStepActor(Observer(units), self._noise_dim, chunk_size(policy), hidden=config.hidden)
        self.critic = critics(self.actor.observer.dim + chunk_size(policy), config)
        self.target_observer = copy.deepcopy(self.actor.observer).requires_grad_(False)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.modules: dict[str, nn.Module] = {
            "critic": self.critic,
            "target_observer": self.target_observer,
            "target_critic": self.target_critic,
        }
        self.optimizers = optimizers(self.actor.net, self.critic, self.actor.observer, config)
        self.generator = torch.Generator().manual_seed(seed)
        self._rng = np.random.default_rng(seed)

    def acting(self, rng: np.random.Generator | None) -> Acting:
        """See `robolearn.rl.online.Algorithm.acting`; while the critic learns alone, the base explores."""
        learned = None if rng is None else lambda: self._improves
        return Acting(OneStepPolicy(self.policy, self.actor, self.units, learned=learned))

    @property
    def _improves(self) -> bool:
        return self.clock.updates > self.config.critic_warmup_updates

    def complete(self, trajectory: Trajectory) -> Trajectory:
        """Add chunks of the base and their noise, from which the actor is distilled."""
        count = self.config.distilled_plans
        return with_plans(trajectory, self.policy, self.units, self._rng, count=count, noise=True)

    def critic_loss(self, batch: Batch) -> Tensor:
        """Mean over heads of the squared error."""
        with torch.no_grad():
            chunk = self.actor(self.actor.observer(batch.after), self._gaussian(len(batch.reward)))
            seen = self.target_observer(batch.after)
            value = least_of_two(self.target_critic, seen, chunk, self.generator)
            target = chunk_target(batch, value, step_cost=self.config.step_cost)
        q = values_of(self.critic, self.actor.observer(batch.frames), batch.action.flatten(1))
        return (q - target).square().mean()

    def distillation_loss(self, seen: Tensor, noise: Tensor, plans: Tensor) -> Tensor:
        """Mean squared difference between mu(s, z) and base(s, z).

        Args:
            seen: what is seen [B, dim].
            noise: z [B, n, noise_dim].
            plans: base(s, z) [B, n, h * action_dim].
        """
        spread = seen[:, None].expand(*noise.shape[:2], -1).flatten(0, 1)
        return (self.actor(spread, noise.flatten(0, 1)) - plans.flatten(0, 1)).square().mean()

    def improvement_loss(self, seen: Tensor, offset: Tensor | float = 0.0) -> Tensor:
        """-mean Q(s, mu(s, z)) / mean |Q|, where |Q| is without the `offset` [B] that values lose by shaping."""
        chunk = self.actor(seen, self._gaussian(len(seen)))
        q = values_of(self.critic, seen, chunk).mean(dim=0)
        return -q.mean() / (q + offset).abs().mean().detach().clamp_min(1e-3)

    def update(self, experience: Experience) -> dict[str, Tensor]:
        """One step of the critic and of the actor, which only follows the base at first."""
        batch = experience.batch(self.config.batch_size, steps=self.policy.n_action_steps)
        critic_loss = self.critic_loss(batch)
        descend(self.optimizers["critic"], critic_loss)
        follow(self.target_critic, self.critic, self.config.tau)
        follow(self.target_observer, self.actor.observer, self.config.tau)
        with torch.no_grad():
            seen = self.actor.observer(batch.frames)
        distilled = self.distillation_loss(seen, batch.frames[PLANS_NOISE].float(), batch.frames[PLANS].float())
        loss = self.config.distillation_weight * distilled
        with frozen(self.critic.parts):
            if self._improves:
                loss = loss + self.improvement_loss(seen, batch.offset)
            descend(self.optimizers["actor"], loss)
        metrics = {"critic_loss": critic_loss, "distillation_loss": distilled, "actor_loss": loss}
        return {key: value.detach() for key, value in metrics.items()}

    def _gaussian(self, batch: int) -> Tensor:
        return torch.randn(batch, self._noise_dim, generator=self.generator)

    def save(self, folder: Path) -> None:
        """Write the actor beside the base policy in `folder`."""
        save_refinement(folder, "fql", {"hidden": self.config.hidden}, self.actor)


def rebuild(settings: Mapping[str, Any], policy: Policy, units: Units) -> Rebuilt:
    """See `robolearn.rl.refinement`."""
    noise_dim = math.prod(noise_shape_of(policy))
    actor = OneStepActor(Observer(units), noise_dim, chunk_size(policy), hidden=settings["hidden"])
    return Rebuilt(actor, Acting(OneStepPolicy(policy, actor, units)))
