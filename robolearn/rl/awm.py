"""Advantage-weighted matching (Xue et al., "Advantage Weighted Matching", 2025) of a flow or diffusion policy.

The executed chunk x is noised again, at times t and with noises e of its own, and the policy's training loss stands for
its likelihood, whatever sampler the chunk came from:

    log p(x) ~ -l(x, t, e),    l = mean (f(x_t, t | o) - y)^2    over the executed actions,

with y the velocity x - e of a flow, or what a diffusion policy predicts. PPO's ratio is exp(l_old - l_new) for every
(t, e); a penalty on the squared distance from the base policy's own predictions, the KL divergence of their steps up to
a factor, keeps the policy near it.

Samplers vary only with their starting noise, which may be little to explore with: Gaussian noise on the chunk adds to
it.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robolearn.config import AWMConfig
from robolearn.rl.on_policy import learn, optimizers
from robolearn.rl.online import Metrics
from robolearn.rl.proximal import clipped_loss, divergence
from robolearn.rl.rollouts import Explorer, Rollout
from robolearn.rl.tuned import LEVELS, Exploring, Sampled, TunablePolicy, Tuning, given
from robolearn.rl.units import Units
from robolearn.sampling import sample


class AWM(Tuning):
    """Networks, losses and updates; see `robolearn.rl.on_policy.OnPolicyAlgorithm`."""

    def __init__(self, config: AWMConfig, *, policy: TunablePolicy, units: Units, seed: int) -> None:
        """Initialise from a seed; the policy's own weights are changed.

        Raises:
            UserError: the policy is none of ours, or one whose training loss is not of chunks alone.
        """
        super().__init__(config, policy=policy, units=units, seed=seed, samplers=("euler", "heun", "ddim"), algo="awm")
        self.config = config
        self.reference: Any = copy.deepcopy(policy.policy).requires_grad_(False)
        self.levels: int = getattr(policy.policy.config, "num_train_timesteps", LEVELS)
        # a resumed run has other weights before it reads its checkpoint: the reference is kept there, too
        self.modules["reference"] = self.reference
        self.optimizers = optimizers(list(self.actor.parameters()), self.critic, config)

    def exploring(self, rng: np.random.Generator) -> Explorer:
        """See `robolearn.rl.on_policy.OnPolicyAlgorithm.exploring`; each world has noise of its own."""
        return Exploring(self.policy, self.sample, draws=2).explorer()

    def sample(self, observed: Tensor, noise: Tensor) -> Sampled:
        """Chunks [n, H, A] within the action's bounds, by the policy's own sampler; they are noted as "chunk"."""

        def model(x: Tensor, time: float) -> Tensor:
            prediction: Tensor = self.policy.policy.network(x, x.new_full((len(x),), time), observed)
            return prediction

        chunk = sample(model, noise[:, 0], self.policy.policy.sampler)
        chunk = (chunk + self.config.exploration_noise * noise[:, 1]).clamp(-1, 1)
        return chunk, {"chunk": chunk}

    def prediction(self, module: Any, note: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What a network says of the re-noised chunks, and what it should [B * draws, H, A]."""
        draws = self.config.draws
        observed = module.observe(given(note)).repeat_interleave(draws, dim=0)
        chunk = note["chunk"].repeat_interleave(draws, dim=0)
        noise, time = note["noise"].flatten(0, 1), note["time"].flatten(0, 1)
        example = module.example(chunk, observed, noise=noise, time=time)
        return module.network(example.sample, example.time, observed), example.target

    def error(self, predicted: Tensor, target: Tensor, steps: Tensor) -> Tensor:
        """Mean squared difference [B, draws] over the executed actions, of [B * draws, H, A]."""
        of_action = (predicted - target).square().mean(dim=2).unflatten(0, (len(steps), -1))
        executed = (torch.arange(of_action.shape[2]) < steps[:, None]).float()[:, None]
        return (of_action * executed).sum(dim=2) / executed.sum(dim=2)

    def policy_loss(self, part: Rollout) -> tuple[Tensor, dict[str, Tensor]]:
        """Clipped objective of the surrogate ratios, and the distance from the base policy."""
        predicted, target = self.prediction(self.policy.policy, part.note)
        log_ratio = part.note["error"] - self.error(predicted, target, part.steps)
        distance = (predicted - part.note["reference"].flatten(0, 1)).square().mean()
        loss = clipped_loss(log_ratio, part.advantage[:, None], self.config.clip).mean()
        return loss + self.config.kl_weight * distance, {
            "divergence": divergence(log_ratio),
            "distance": distance.detach(),
        }

    def update(self, rollout: Rollout) -> Metrics:
        """Draw times and noises, remember what policy and base say there, and learn."""
        return learn(self, rollout._replace(note=rollout.note | self.matched(rollout)), self.config)

    @torch.no_grad()
    def matched(self, rollout: Rollout) -> dict[str, Tensor]:
        """Draw what to match at, "time" and "noise" [N, draws, ...]; also "error" and the base's "reference" there."""
        chunk, draws = rollout.note["chunk"], self.config.draws
        size = (len(chunk), draws)
        drawn = {
            "noise": torch.randn((*size, *chunk.shape[1:]), generator=self.generator),
            "time": torch.randint(self.levels, size, generator=self.generator) / self.levels,
        }
        note = rollout.note | drawn
        errors, references = [], []
        for index in torch.arange(len(chunk)).split(self.config.batch_size):
            part = {key: x[index] for key, x in note.items()}
            predicted, target = self.prediction(self.policy.policy, part)
            errors.append(self.error(predicted, target, rollout.steps[index]))
            references.append(self.prediction(self.reference, part)[0].unflatten(0, (len(index), draws)))
        return drawn | {"error": torch.cat(errors), "reference": torch.cat(references)}
