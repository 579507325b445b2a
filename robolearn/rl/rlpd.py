"""RLPD (Ball et al., "Efficient Online Reinforcement Learning with Offline Data", 2023): no base policy at all.

Soft actor-critic with an ensemble of critics that normalise their layers, and demonstrations in half of each batch:

    Q(o, a) <- R + gamma^k min_2 Q'(o', a'),    a' ~ pi(o')    (- gamma^k alpha log pi(a' | o') where asked for),
    actor: alpha log pi(a | o) - mean Q(o, a),    log alpha: -log alpha (log pi + target entropy).

log pi is that per component of the action, so that alpha does not depend on how many there are.
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
from torch.nn import functional

from robolearn.acting import Acting
from robolearn.config import RLPDConfig
from robolearn.protocols import Observation, Policy
from robolearn.rl.chunks import least_of_two
from robolearn.rl.experience import Batch, Experience
from robolearn.rl.gaussian import SquashedGaussian, Tempered
from robolearn.rl.networks import critics, descend, follow, frozen, optimizers
from robolearn.rl.observer import Observer, newest
from robolearn.rl.online import Clock
from robolearn.rl.refinement import Rebuilt, save_refinement
from robolearn.rl.units import Units
from robolearn.schema import ActionChunk, Schema


class GaussianPolicy:
    """An actor that decides at every control step; satisfies `robolearn.protocols.Policy`.

    With noise it explores, without it takes the middle of the distribution. At first it explores evenly within the
    bounds: `trained` tells whether the actor has learned something.
    """

    n_obs_steps, horizon, n_action_steps, reads_task = 1, 1, 1, False

    def __init__(
        self, actor: SquashedGaussian, units: Units, schema: Schema, *, trained: Callable[[], bool] | None = None
    ) -> None:
        """Act with the actor's present weights on the channels of `schema`; explore where `trained` is given."""
        self.actor, self.units, self.schema, self.trained = actor, units, schema, trained
        self.noise_shape = None if trained is None else schema.action.shape

    @torch.inference_mode()
    def predict_chunk(
        self, observation: Observation, noise: NDArray[np.float32] | None = None, n_samples: int = 1
    ) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`."""
        seen = self.actor.observer(newest(self.units, observation)).repeat_interleave(n_samples, dim=0)
        action = self.units.physical(self._decide(seen, noise).numpy())
        samples = (n_samples,) if n_samples > 1 else ()
        return ActionChunk(action.reshape(-1, *samples, 1, action.shape[-1]), 0.0, 1 / self.schema.fps)

    def _decide(self, seen: Tensor, noise: NDArray[np.float32] | None) -> Tensor:
        if self.trained is None:
            return torch.tanh(self.actor(seen)[0])
        shape = (len(seen), *self.schema.action.shape)
        given = torch.randn(shape) if noise is None else torch.from_numpy(np.asarray(noise, np.float32))
        # the error function turns a Gaussian into an even distribution over [-1, 1]
        return self.actor.draw(seen, given)[0] if self.trained() else torch.erf(given / math.sqrt(2))


class RLPD(Tempered):
    """Networks, losses and updates; see `robolearn.rl.online.Algorithm`."""

    def __init__(self, config: RLPDConfig, *, policy: Policy, units: Units, seed: int) -> None:
        """Initialise from a seed; of the policy only its channels are used."""
        super().__init__(config)
        torch.manual_seed(seed)
        self.config, self.units, self.clock, self.schema = config, units, Clock(), policy.schema
        dim = len(units.action_names)
        self.actor = SquashedGaussian(Observer(units), dim, hidden=config.hidden)
        self.critic = critics(self.actor.observer.dim + dim, config)
        self.observer_target = copy.deepcopy(self.actor.observer).requires_grad_(False)
        self.critic_target = copy.deepcopy(self.critic).requires_grad_(False)
        self.modules: dict[str, nn.Module] = {
            "critic": self.critic,
            "observer_target": self.observer_target,
            "critic_target": self.critic_target,
            "temperature": self.temperature,
        }
        self.optimizers = optimizers(self.actor.net, self.critic, self.actor.observer, config)
        self.optimizers["temperature"] = self._temperature_optimizer
        self.generator = torch.Generator().manual_seed(seed)

    def acting(self, rng: np.random.Generator | None) -> Acting:
        """See `robolearn.rl.online.Algorithm.acting`; worlds draw the noise of exploration."""
        trained = None if rng is None else self._trained
        return Acting(GaussianPolicy(self.actor, self.units, self.schema, trained=trained))

    def _trained(self) -> bool:
        """Whether exploration follows the actor by now."""
        return self.clock.steps >= self.config.warmup_steps

    def critic_loss(self, batch: Batch) -> Tensor:
        """Mean over heads of the squared TD error; values lie within their bounds unless they count the entropy."""
        with torch.no_grad():
            action, log_prob = self.actor.draw(self.actor.observer(batch.after), self._gaussian(len(batch.reward)))
            value = least_of_two(self.critic_target, self.observer_target(batch.after), action, self.generator)
            value = value - self.alpha * log_prob if self.config.backup_entropy else batch.bounded(value)
            target = batch.reward + batch.discount * value
        q = self.critic(self.actor.observer(batch.frames), batch.action[:, 0])[..., 0]
        return functional.mse_loss(q, target.expand_as(q))

    def actor_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean of alpha log pi(a | o) - Q(o, a) over the batch and the heads, and of log pi."""
        with torch.no_grad():
            seen = self.actor.observer(batch.frames)
        action, log_prob = self.actor.draw(seen, self._gaussian(len(seen)))
        mean = log_prob.mean()
        return self.alpha * mean - self.critic(seen, action).mean(), mean

    def update(self, experience: Experience) -> dict[str, Tensor]:
        """One step of the critics and, every `actor_every` of them, of actor and temperature; the targets follow."""
        config = self.config
        batch = experience.batch(config.batch_size, steps=config.n_step)
        loss = self.critic_loss(batch)
        descend(self.optimizers["critic"], loss)
        follow(self.critic_target.parts, self.critic.parts, config.tau)
        follow(self.observer_target, self.actor.observer, config.tau)
        metrics = {"critic_loss": loss.detach()}
        if self.clock.updates > config.critic_warmup_updates and self.clock.updates % config.actor_every == 0:
            with frozen(self.critic.parts):
                actor_loss, log_prob = self.actor_loss(batch)
                descend(self.optimizers["actor"], actor_loss)
            descend(self.optimizers["temperature"], self.temperature_loss(log_prob))
            metrics |= {"actor_loss": actor_loss.detach(), "entropy": -log_prob.detach(), "temperature": self.alpha}
        return metrics

    def _gaussian(self, batch: int) -> Tensor:
        return torch.randn(batch, len(self.units.action_names), generator=self.generator)

    def save(self, folder: Path) -> None:
        """Write the actor beside the base policy in `folder`."""
        save_refinement(folder, "rlpd", {"hidden": self.config.hidden}, self.actor)


def rebuild(settings: Mapping[str, Any], policy: Policy, units: Units) -> Rebuilt:
    """See `robolearn.rl.refinement`."""
    actor = SquashedGaussian(Observer(units), len(units.action_names), hidden=settings["hidden"])
    return Rebuilt(actor, Acting(GaussianPolicy(actor, units, policy.schema)))
