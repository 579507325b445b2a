"""DPPO (Ren et al., "Diffusion Policy Policy Optimization", 2024): PPO over the denoising steps of a diffusion policy.

Each step of the sampler is a Gaussian transition (Song et al., "Denoising Diffusion Implicit Models", 2021, eq. 12),

    x_{k+1} ~ N(sqrt(a') x^ + sqrt(1 - a' - s^2) e, max(s, floor)^2),    s = eta sqrt((1 - a') / (1 - a) (1 - a / a')),

with the network's estimates x^ of the clean chunk and e of the noise, and the schedule's a now and a' after the step;
eta = 1 is DDPM. Every one of the last steps is a decision with a ratio of its own. Its advantage is that of the chunk,
discounted by the steps that follow; its clip grows towards the clean chunk, for early steps move all that comes after.
Log-likelihoods are averaged over components, as published.

Two things differ from the paper. The steps before those that learn are taken by the same network, not by a copy of the
base's: a policy folder has room for one. And the actions of a chunk that are not executed count at all steps but the
last one, see `robolearn.rl.tuned.counted`. Evaluation and the saved policy sample without noise (eta = 0).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from robolearn.config import DPPOConfig
from robolearn.rl.on_policy import learn, optimizers
from robolearn.rl.online import Metrics
from robolearn.rl.proximal import clipped_loss, divergence
from robolearn.rl.rollouts import Explorer, Rollout
from robolearn.rl.tuned import Exploring, Sampled, TunablePolicy, Tuning, changes, given, walk
from robolearn.rl.units import Units
from robolearn.sampling import estimates

CLIP_RATE = 3.0  # of the exponential by which the clip grows


class DPPO(Tuning):
    """Networks, losses and updates; see `robolearn.rl.on_policy.OnPolicyAlgorithm`."""

    def __init__(self, config: DPPOConfig, *, policy: TunablePolicy, units: Units, seed: int) -> None:
        """Initialise from a seed; the policy's own weights are changed.

        Raises:
            UserError: the policy is no diffusion policy of ours.
        """
        super().__init__(config, policy=policy, units=units, seed=seed, samplers=("ddim",), algo="dppo")
        self.config = config
        self.optimizers = optimizers(list(self.actor.parameters()), self.critic, config)
        sampler = policy.policy.sampler
        self.times, self.alphas = torch.tensor(sampler["times"]), torch.tensor(sampler["alphas"])
        self.sigmas = config.eta * ddpm_deviations(self.alphas)
        self.reading = {"prediction": sampler["prediction"], "clip": sampler["clip"]}
        self.steps = len(self.times)
        self.tuned = min(config.tuned_steps, self.steps)
        left = torch.arange(self.tuned - 1, -1, -1)
        self.discounts = config.denoising_gamma**left
        self.clips = clips(self.tuned, first=config.clip_first, last=config.clip)

    def exploring(self, rng: np.random.Generator) -> Explorer:
        """See `robolearn.rl.on_policy.OnPolicyAlgorithm.exploring`; each world has noise of its own."""
        return Exploring(self.policy, self.sample, draws=1 + self.steps).explorer()

    def sample(self, observed: Tensor, noise: Tensor) -> Sampled:
        """Chunks [n, H, A], and of the K steps that learn "chain" [n, K + 1, H, A] and "log_prob" [n, K, H]."""
        return walk(self.transition, observed, noise, kept=self.tuned)

    def transition(self, x: Tensor, k: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [B, H, A] and deviation [B, 1, 1] of what follows x at the sampler's step k [B]."""
        predicted = self.policy.policy.network(x, self.times[k], observed)
        alpha, after, sigma = (c[:, None, None] for c in (self.alphas[k], self.alphas[k + 1], self.sigmas[k]))
        clean, epsilon = estimates(x, predicted, alpha, **self.reading)
        mean = after.sqrt() * clean + (1 - after - sigma**2).clamp_min(0).sqrt() * epsilon
        return mean, sigma.clamp_min(self.config.min_std)

    def log_ratio(self, part: Rollout) -> Tensor:
        """Mean difference [B, K] of new and old log-density over the components of each transition."""
        observed = self.policy.policy.observe(given(part.note))
        change, components, _ = changes(self.transition, observed, part, steps=self.steps)
        return change.sum(dim=2) / components.sum(dim=2)

    def policy_loss(self, part: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """Clipped objective, averaged over decisions and their steps."""
        log_ratio = self.log_ratio(part)
        advantage = part.advantage[:, None] * self.discounts
        return clipped_loss(log_ratio, advantage, self.clips).mean(), {"divergence": divergence(log_ratio)}

    def update(self, rollout: Rollout) -> Metrics:
        """See `robolearn.rl.on_policy.OnPolicyAlgorithm.update`."""
        return learn(self, rollout, self.config)


def ddpm_deviations(alphas: Tensor) -> Tensor:
    """Deviation [steps] of the noise that DDPM adds at each step of a schedule [steps + 1]."""
    before, after = alphas[:-1], alphas[1:]
    return ((1 - after) / (1 - before) * (1 - before / after)).sqrt()


def clips(steps: int, *, first: float, last: float) -> Tensor:
    """Clip [steps] of each step, growing exponentially; a single step has the last one's."""
    share = torch.linspace(0, 1, steps) if steps > 1 else torch.ones(1)
    return first + (last - first) * torch.expm1(CLIP_RATE * share) / math.expm1(CLIP_RATE)
