"""LeRobot's policies as what `robolearn.policies.serving.TorchPolicy` serves: chunks that begin with the present."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.utils.constants import OBS_IMAGES
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.sampling import sample


@dataclass(frozen=True)
class Shape:
    """What a served policy says of its chunks; see `robolearn.protocols.Policy`."""

    n_obs_steps: int
    horizon: int
    n_action_steps: int


class DiffusionChunks(nn.Module):
    """LeRobot's `DiffusionPolicy`.

    It samples from the oldest frame of its history on. What lies before the present is cut off, and what LeRobot
    leaves off after `n_action_steps` stays.
    """

    name = "lerobot_diffusion"

    def __init__(self, policy: DiffusionPolicy) -> None:
        """Share the policy's weights."""
        super().__init__()
        config: Any = policy.config
        self.model: Any = policy.diffusion
        self.unet: nn.Module = getattr(self.model.unet, "_orig_mod", self.model.unet)  # not compiled
        self.cameras = tuple(config.image_features)
        self.past = config.n_obs_steps - 1
        self.config = Shape(config.n_obs_steps, config.horizon - self.past, config.n_action_steps)
        self.sampler = describe_sampler(self.model)
        chunk = (config.horizon, *config.action_feature.shape)
        fresh = self.sampler["name"] == "ddpm"  # at every step
        self.noise_shape: tuple[int, ...] = (len(self.sampler["times"]), *chunk) if fresh else chunk

    def observe(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Embed normalised observations [B, n_obs_steps, ...] as [B, width]."""
        if self.cameras:
            batch = {**batch, OBS_IMAGES: torch.stack([batch[key] for key in self.cameras], dim=-4)}
        observed: Tensor = self.model._prepare_global_conditioning(batch)
        return observed

    def denoise(self, observed: Tensor, noisy: Tensor, time: Tensor) -> Tensor:
        """Return the network's prediction [B, horizon, action_dim]; `time` [B] counts the steps of training."""
        prediction: Tensor = self.unet(noisy, time.round().long(), global_cond=observed)
        return prediction

    def predict_action_chunk(
        self, batch: Mapping[str, Tensor], noise: Tensor | None = None, num_samples: int = 1
    ) -> Tensor:
        """Sample chunks as `robolearn.policies.chunk_policy.ChunkPolicy.predict_action_chunk` does."""
        observed = self.observe(batch).repeat_interleave(num_samples, dim=0)
        if noise is None:
            noise = torch.randn(len(observed), *self.noise_shape, device=observed.device)

        def denoiser(noisy: Tensor, time: float) -> Tensor:
            return self.denoise(observed, noisy, torch.full((len(observed),), time, device=observed.device))

        chunk: Tensor = sample(denoiser, noise, self.sampler)[:, self.past :]
        return chunk if num_samples == 1 else chunk.unflatten(0, (-1, num_samples))


class ActChunks(nn.Module):
    """LeRobot's `ACTPolicy`: no noise, so that all samples are alike."""

    name = "lerobot_act"
    sampler = None
    noise_shape = None
    past = 0

    def __init__(self, policy: ACTPolicy) -> None:
        """Share the policy's weights.

        Raises:
            UserError: its chunks depend on those before.
        """
        super().__init__()
        config: Any = policy.config
        if config.temporal_ensemble_coeff is not None:
            raise UserError(
                "this ACT policy averages its chunks over time, which is done here by no `Policy`: set "
                "temporal_ensemble_coeff to null and n_action_steps to less than chunk_size in its config.json"
            )
        self.policy = policy
        self.config = Shape(1, config.chunk_size, config.n_action_steps)

    def predict_action_chunk(
        self, batch: Mapping[str, Tensor], noise: Tensor | None = None, num_samples: int = 1
    ) -> Tensor:
        """Predict chunks from the newest frame, [B, horizon, action_dim] or [B, num_samples, horizon, action_dim]."""
        chunk: Tensor = self.policy.predict_action_chunk({key: frames[:, -1] for key, frames in batch.items()})
        return chunk if num_samples == 1 else chunk[:, None].expand(-1, num_samples, -1, -1)


def describe_sampler(model: Any) -> dict[str, Any]:
    """Return what `robolearn.sampling.sample` needs to sample like a `DiffusionModel` of LeRobot.

    Times and noise levels are those of diffusers' own scheduler.
    """
    scheduler = deepcopy(model.noise_scheduler)
    scheduler.set_timesteps(model.num_inference_steps)
    steps = scheduler.timesteps.tolist()
    settings = scheduler.config
    return {
        "name": "ddpm" if type(scheduler).__name__.startswith("DDPM") else "ddim",
        "times": [float(step) for step in steps],
        "alphas": [*scheduler.alphas_cumprod[steps].tolist(), 1.0],
        "prediction": settings.prediction_type,
        "clip": settings.clip_sample_range if settings.clip_sample else None,
    }


SOURCES: dict[str, Any] = {"act": ActChunks, "diffusion": DiffusionChunks}
