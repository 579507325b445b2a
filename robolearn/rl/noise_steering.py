"""Noise steering (Wagenmaker et al., "Steering Your Diffusion Policy with Latent Space Reinforcement Learning", 2025).

The base policy stays frozen. An actor gives the noise that its flow or diffusion starts from,

    w = b tanh(mu(o) + sigma(o) e),    e ~ N(0, I),    |w| <= b,

of the shape of the base's own noise: one noise repeated over the chunk would be none that the base knows. At first
mu = 0 and sigma = 1 / b, so that w is the base's own noise e, softly bounded. Values of chunks are learned from all
that was executed, by the actor or by demonstrators,

    Q_A(s, a) <- R + gamma^k [min Q_A'(s', base(s', w')) - alpha log pi(w' | s')],

and distilled into values of noise, Q_W(s, w) <- Q_A(s, base(s, w)), which have a gradient without that of the base. The
actor minimises alpha log pi(w | s) - min Q_W(s, w), and alpha follows a target entropy (soft actor-critic, Haarnoja et
al. 2018). log pi is that of w / b, per component, so that alpha does not depend on how many there are.

Who is evaluated and kept has a running average of the actor's weights, which is not in the paper: the newest alone
swing from one evaluation to the next.
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
from robolearn.config import NoiseSteeringConfig
from robolearn.data.replay import Trajectory
from robolearn.on_top import Steered
from robolearn.protocols import Observation, Policy
from robolearn.rl.chunks import (
    PLANS,
    PLANS_NOISE,
    arrays,
    ask,
    chunk_size,
    chunk_target,
    least_of_two,
    noise_shape_of,
    values_of,
    with_plans,
)
from robolearn.rl.experience import Batch, Experience
from robolearn.rl.gaussian import SquashedGaussian, Tempered
from robolearn.rl.networks import critics, descend, follow, frozen, optimizers
from robolearn.rl.observer import Observer, newest
from robolearn.rl.online import Clock
from robolearn.rl.refinement import Rebuilt, save_refinement
from robolearn.rl.units import Units


class SteeredPolicy(Steered):
    """A base policy that starts from the actor's noise; what it is given as noise is e."""

    def __init__(
        self,
        base: Policy,
        actor: SquashedGaussian,
        units: Units,
        *,
        greedy: bool = False,
        steers: Callable[[], bool] | None = None,
    ) -> None:
        """Steer with the actor's present weights.

        Args:
            base: the policy.
            actor: of its noise.
            units: of its channels.
            greedy: start from the middle of the distribution; else from a draw, which the noise given decides.
            steers: tells whether to steer at the moment, always when None.

        Raises:
            UserError: the base draws no noise.
        """
        super().__init__(base, self._from_actor, noise_shape=noise_shape_of(base))
        self.actor, self.units, self.greedy, self.steers = actor, units, greedy, steers

    @torch.inference_mode()
    def _from_actor(self, observation: Observation, noise: NDArray[np.float32], n_samples: int) -> NDArray[np.float32]:
        if self.steers is not None and not self.steers():
            return noise
        seen = self.actor.observer(newest(self.units, observation)).repeat_interleave(n_samples, dim=0)
        given = torch.from_numpy(np.asarray(noise, np.float32)).flatten(1)
        steered: NDArray[np.float32] = self.actor.draw(seen, 0 * given if self.greedy else given)[0].numpy()
        return steered.reshape(noise.shape)


class NoiseSteering(Tempered):
    """Networks, losses and updates; see `robolearn.rl.online.Algorithm`."""

    def __init__(self, config: NoiseSteeringConfig, *, policy: Policy, units: Units, seed: int) -> None:
        """Initialise from a seed, on top of a policy that draws noise."""
        super().__init__(config)
        self.config, self.policy, self.units, self.clock = config, policy, units, Clock()
        self.noise_shape = noise_shape_of(policy)
        noise_dim = math.prod(self.noise_shape)
        torch.manual_seed(seed)
        self.actor = SquashedGaussian(Observer(units), noise_dim, hidden=config.hidden, bound=config.noise_bound)
        seen_dim = self.actor.observer.dim
        self.critic = critics(seen_dim + chunk_size(policy), config)
        self.noise_critic = critics(seen_dim + noise_dim, config)
        self.target_observer = copy.deepcopy(self.actor.observer).requires_grad_(False)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.averaged = copy.deepcopy(self.actor).requires_grad_(False)
        self.modules: dict[str, nn.Module] = {
            "critic": self.critic,
            "noise_critic": self.noise_critic,
            "target_observer": self.target_observer,
            "target_critic": self.target_critic,
            "averaged": self.averaged,
            "temperature": self.temperature,
        }
        # the observer learns from the values of chunks alone; all others read it
        self.optimizers = optimizers(self.actor.net, self.critic, self.actor.observer, config)
        noise_critic = torch.optim.Adam(self.noise_critic.parameters(), lr=config.critic_lr, fused=True)
        self.optimizers |= {"noise_critic": noise_critic, "temperature": self._temperature_optimizer}
        self.generator = torch.Generator().manual_seed(seed)
        self._rng = np.random.default_rng(seed)

    def acting(self, rng: np.random.Generator | None) -> Acting:
        """See `robolearn.rl.online.Algorithm.acting`; the first steps are the base's own."""
        if rng is None:
            return Acting(SteeredPolicy(self.policy, self.averaged, self.units, greedy=self.config.greedy))
        return Acting(SteeredPolicy(self.policy, self.actor, self.units, steers=lambda: self._learns))

    @property
    def _learns(self) -> bool:
        """Whether the actor learns by now."""
        return self.clock.updates > self.config.critic_warmup_updates

    def complete(self, trajectory: Trajectory) -> Trajectory:
        """Add chunks of the base's own noise, from which the values of noise are distilled."""
        count = self.config.distilled_plans
        return with_plans(trajectory, self.policy, self.units, self._rng, count=count, noise=True, reads=True)

    def critic_loss(self, batch: Batch, chunk: Tensor, log_prob: Tensor) -> Tensor:
        """Mean over heads of the squared error of Q_A.

        Args:
            batch: windows [B].
            chunk: base(s', w') [B, h * action_dim].
            log_prob: log pi(w' | s') [B].
        """
        with torch.no_grad():
            seen = self.target_observer(batch.after)
            value = least_of_two(self.target_critic, seen, chunk, self.generator)
            target = chunk_target(batch, value, step_cost=self.config.step_cost)
            target = target - batch.discount * self.alpha * log_prob
        q = values_of(self.critic, self.actor.observer(batch.frames), batch.action.flatten(1))
        return (q - target).square().mean()

    def distillation_loss(self, seen: Tensor, noise: Tensor, chunk: Tensor) -> Tensor:
        """Mean squared difference between Q_W(s, w) and Q_A(s, base(s, w)), head by head.

        Args:
            seen: what is seen [B, dim].
            noise: w [B, n, noise_dim].
            chunk: base(s, w) [B, n, h * action_dim].
        """
        with torch.no_grad():
            target = values_of(self.critic, seen, chunk)
        return (values_of(self.noise_critic, seen, noise) - target).square().mean()

    def actor_loss(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of alpha log pi(w | s) - min Q_W(s, w), and of log pi."""
        noise, log_prob = self.actor.draw(seen, self._gaussian(len(seen)))
        value = least_of_two(self.noise_critic, seen, noise, self.generator)
        return (self.alpha * log_prob - value).mean(), log_prob.mean()

    def update(self, experience: Experience) -> dict[str, Tensor]:
        """One step of everything; the actor and its temperature wait until the critics have learned alone."""
        batch = experience.batch(self.config.batch_size, steps=self.policy.n_action_steps)
        with torch.no_grad():
            seen_after = self.actor.observer(batch.after)
            noise, log_prob = self.actor.draw(seen_after, self._gaussian(len(seen_after)))
            chunk = self._ask(batch.after, noise)
        critic_loss = self.critic_loss(batch, chunk, log_prob)
        descend(self.optimizers["critic"], critic_loss)
        follow(self.target_critic, self.critic, self.config.tau)
        follow(self.target_observer, self.actor.observer, self.config.tau)
        follow(self.averaged.observer, self.actor.observer, self.config.average_tau)
        with torch.no_grad():
            seen, seen_after = self.actor.observer(batch.frames), self.actor.observer(batch.after)
        # the base's own noise, which is broad, and the actor's, where its values are used
        distilled = self.distillation_loss(seen, batch.frames[PLANS_NOISE].float(), batch.frames[PLANS].float())
        distilled = distilled + self.distillation_loss(seen_after, noise[:, None], chunk[:, None])
        descend(self.optimizers["noise_critic"], distilled)
        metrics = {"critic_loss": critic_loss.detach(), "distillation_loss": distilled.detach()}
        return metrics | (self._improve(seen) if self._learns else {})

    def _improve(self, seen: Tensor) -> dict[str, Tensor]:
        with frozen(self.noise_critic.parts):
            loss, log_prob = self.actor_loss(seen)
            descend(self.optimizers["actor"], loss)
        follow(self.averaged.net, self.actor.net, self.config.average_tau)
        descend(self.optimizers["temperature"], self.temperature_loss(log_prob))
        return {"actor_loss": loss.detach(), "entropy": -log_prob.detach(), "temperature": self.alpha}

    def _ask(self, frames: Mapping[str, Tensor], noise: Tensor) -> Tensor:
        """base(s, w) [B, h * action_dim] for w [B, noise_dim]."""
        shaped = noise.numpy().reshape(-1, *self.noise_shape)
        return torch.from_numpy(ask(self.policy, self.units, arrays(frames), shaped)[:, 0])

    def _gaussian(self, batch: int) -> Tensor:
        return torch.randn(batch, math.prod(self.noise_shape), generator=self.generator)

    def save(self, folder: Path) -> None:
        """Write the averaged actor beside the base policy in `folder`."""
        config = self.config
        settings = {"hidden": config.hidden, "bound": config.noise_bound, "greedy": config.greedy}
        save_refinement(folder, "noise_steering", settings, self.averaged)


def rebuild(settings: Mapping[str, Any], policy: Policy, units: Units) -> Rebuilt:
    """See `robolearn.rl.refinement`."""
    noise_dim = math.prod(noise_shape_of(policy))
    actor = SquashedGaussian(Observer(units), noise_dim, hidden=settings["hidden"], bound=settings["bound"])
    return Rebuilt(actor, Acting(SteeredPolicy(policy, actor, units, greedy=settings["greedy"])))
