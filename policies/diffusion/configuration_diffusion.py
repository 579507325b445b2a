"""Configuration of the diffusion policy."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.configs import PreTrainedConfig

from robolearn.errors import UserError
from robolearn.policies.chunk_config import ChunkConfig

PREDICTIONS = ("epsilon", "sample")
BETA_SCHEDULES = ("squaredcos_cap_v2", "linear", "scaled_linear")


@PreTrainedConfig.register_subclass("robolearn_diffusion")
@dataclass
class DiffusionConfig(ChunkConfig):
    """Diffusion over action chunks (Chi et al. 2023): DDPM training, DDIM sampling.

    Attributes:
        num_train_timesteps: steps of the noise schedule.
        beta_schedule: one of diffusers' schedules.
        beta_start: first beta, for the linear schedules.
        beta_end: last beta, likewise.
        prediction_type: what the network predicts: "epsilon", the noise, or "sample", the clean chunk.
        clip_sample: whether the sampler cuts each estimate of the clean chunk at +-`clip_sample_range`.
        clip_sample_range: see there.
    """

    backbone: str = "unet"
    num_train_timesteps: int = 100
    beta_schedule: str = "squaredcos_cap_v2"
    beta_start: float = 1e-4
    beta_end: float = 0.02
    prediction_type: str = "epsilon"
    clip_sample: bool = True
    clip_sample_range: float = 1.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: a value makes no sense; the message says which would.
        """
        super().__post_init__()
        self.require_one_of("prediction_type", PREDICTIONS)
        self.require_one_of("beta_schedule", BETA_SCHEDULES)
        if self.num_inference_steps > self.num_train_timesteps:
            raise UserError(
                f"num_inference_steps is {self.num_inference_steps}: it must be at most num_train_timesteps "
                f"({self.num_train_timesteps})"
            )
        if self.clip_sample and not self.clip_sample_range > 0:
            raise UserError(f"clip_sample_range is {self.clip_sample_range}: it must be positive")
