"""Diffusion policy over action chunks (Chi et al. 2023), from state and pictures.

Training (Ho et al. 2020): with the cumulative product a_k of a schedule, a chunk x is noised as

    x_k = sqrt(a_k) x + sqrt(1 - a_k) eps,    eps ~ N(0, I),    k = 0 ... K - 1,

and the network predicts eps (or x) from x_k, k / K and the observation. Sampling takes few DDIM steps.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from robolearn.policies.chunk_policy import ChunkPolicy, Example
from robolearn.policies.diffusion.configuration_diffusion import DiffusionConfig
from robolearn.policies.guidance import Previous
from robolearn.sampling import Model, sample
from robolearn.schema import Schema


class DiffusionPolicy(ChunkPolicy):
    """LeRobot policy `robolearn_diffusion`."""

    config_class = DiffusionConfig
    name = "robolearn_diffusion"
    config: DiffusionConfig

    def __init__(self, config: DiffusionConfig, **_: Any) -> None:
        """See `ChunkPolicy`."""
        super().__init__(config)
        self.schedule = DDPMScheduler(
            num_train_timesteps=config.num_train_timesteps,
            beta_schedule=config.beta_schedule,
            beta_start=config.beta_start,
            beta_end=config.beta_end,
        )
        self._sampler = _ddim(config, self.schedule)

    @property
    def sampler(self) -> dict[str, Any]:
        """See `ChunkPolicy.sampler`."""
        return self._sampler

    def example(self, action: Tensor, observed: Tensor, *, noise: Tensor, time: Tensor | None) -> Example:
        """See `ChunkPolicy.example`; the network answers with the noise or the clean chunk."""
        total = self.config.num_train_timesteps
        if time is None:
            index = torch.randint(0, total, (len(action),), device=action.device)
        else:
            index = (time * total).round().long()
        noisy = self.schedule.add_noise(action, noise, index)
        return Example(noisy, index / total, noise if self.config.prediction_type == "epsilon" else action)

    def sample_guided(self, model: Model, noise: Tensor, previous: Previous) -> Tensor:
        """See `ChunkPolicy.sample_guided`.

        With signal a and noise s, z = x / (a + s) is a mixture of clean chunk and noise in the shares 1 - w and
        w = s / (a + s), and a step of DDIM is one of Euler's in w along the velocity noise - clean = (z - clean) / w:
        the flow that the guidance is made for.
        """
        alphas = dict(zip(self._sampler["times"], self._sampler["alphas"], strict=False))
        clip, epsilon = self._sampler["clip"], self.config.prediction_type == "epsilon"

        def denoiser(x: Tensor, time: float) -> Tensor:
            signal, spread = math.sqrt(alphas[time]), math.sqrt(1 - alphas[time])
            share = spread / (signal + spread)

            def velocity(z: Tensor) -> Tensor:
                x = z * (signal + spread)
                predicted = model(x, time)
                clean = (x - spread * predicted) / signal if epsilon else predicted
                return (z - (clean if clip is None else clean.clamp(-clip, clip))) / share

            z = x / (signal + spread)
            guided = previous.guide(z, share, velocity)
            return z + (1 - share) * guided if epsilon else z - share * guided

        # the model's estimates are cut; that which the guidance leads to lies beyond them
        guided: Tensor = sample(denoiser, noise, self._sampler | {"clip": None})
        return guided


def _ddim(config: DiffusionConfig, schedule: DDPMScheduler) -> dict[str, Any]:
    """Describe the sampler with diffusers' own time steps."""
    grid = DDIMScheduler.from_config(schedule.config)
    grid.set_timesteps(config.num_inference_steps)
    steps = grid.timesteps.tolist()
    return {
        "name": "ddim",
        "times": [step / config.num_train_timesteps for step in steps],
        "alphas": [*schedule.alphas_cumprod[steps].tolist(), float(grid.final_alpha_cumprod)],
        "prediction": config.prediction_type,
        "clip": config.clip_sample_range if config.clip_sample else None,
    }


def build(schema: Schema, **settings: Any) -> DiffusionPolicy:
    """Return an untrained policy for these channels; `settings` are fields of `DiffusionConfig`."""
    return DiffusionPolicy(DiffusionConfig.from_schema(schema, **settings))
