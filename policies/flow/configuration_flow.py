"""Configuration of the flow matching policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature, PreTrainedConfig
from lerobot.optim import AdamWConfig, CosineDecayWithWarmupSchedulerConfig

from robolearn.errors import UserError
from robolearn.schema import Schema

STAGE = "observation.stage"  # a label that datasets keep under "observation."; no policy may read it
TIME_DISTRIBUTIONS = ("beta", "logit_normal")


@PreTrainedConfig.register_subclass("robolearn_flow")
@dataclass
class FlowConfig(PreTrainedConfig):
    """Flow matching over action chunks from low-dimensional observations.

    Attributes:
        n_obs_steps: frames of history, the current one included.
        horizon: length of the predicted chunk; its first action is the current step's.
        n_action_steps: actions executed before the next prediction.
        hidden_dim: width of the residual blocks.
        num_blocks: number of residual blocks.
        condition_dim: width of the embedding of observation and time that modulates the blocks.
        num_inference_steps: Euler steps from noise to action.
        time_distribution: how the flow's time t is drawn in training. "beta": 1 - t ~ Beta(time_alpha, 1), which
            favours the noisy end (Black et al. 2024, pi0); "logit_normal": logit(t) ~ N(0, 1) (Esser et al. 2024).
        time_alpha: see there.
    """

    n_obs_steps: int = 2
    horizon: int = 16
    n_action_steps: int = 8
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: {
            "STATE": NormalizationMode.MEAN_STD,
            "ENV": NormalizationMode.MEAN_STD,
            "ACTION": NormalizationMode.MIN_MAX,
        }
    )

    hidden_dim: int = 192
    num_blocks: int = 3
    condition_dim: int = 64

    num_inference_steps: int = 10
    time_distribution: str = "beta"
    time_alpha: float = 1.5

    optimizer_lr: float = 1e-3
    optimizer_weight_decay: float = 1e-4
    scheduler_warmup_steps: int = 200

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: a value makes no sense; the message says which would.
        """
        super().__post_init__()
        if not 1 <= self.n_action_steps <= self.horizon:
            raise UserError(f"n_action_steps is {self.n_action_steps}: it must lie in 1..horizon ({self.horizon})")
        for name in ("n_obs_steps", "hidden_dim", "num_blocks", "condition_dim", "num_inference_steps"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if self.time_distribution not in TIME_DISTRIBUTIONS:
            raise UserError(f"time_distribution is '{self.time_distribution}', not one of {TIME_DISTRIBUTIONS}")

    @classmethod
    def from_schema(cls, schema: Schema, **settings: Any) -> Self:
        """Return the configuration whose inputs are the schema's observations and whose output is its action.

        Raises:
            UserError: an observation has more than one axis.
        """
        inputs = {}
        for key in schema.observation_keys:
            kind = FeatureType.ENV if key == "observation.environment_state" else FeatureType.STATE
            inputs[key] = PolicyFeature(kind, schema[key].shape)
        outputs = {"action": PolicyFeature(FeatureType.ACTION, schema.action.shape)}
        config = cls(input_features=inputs, output_features=outputs, device="cpu", push_to_hub=False, **settings)
        config.validate_features()
        return config

    @property
    def observation_keys(self) -> tuple[str, ...]:
        """Names of the channels that the policy reads, in order."""
        return tuple(key for key in self.input_features or {} if key != STAGE)

    @property
    def observation_dims(self) -> tuple[int, ...]:
        """Width of each channel of `observation_keys`."""
        features = self.input_features or {}
        return tuple(features[key].shape[0] for key in self.observation_keys)

    @property
    def action_dim(self) -> int:
        """Width of the action."""
        if self.action_feature is None:
            raise UserError("the flow policy needs the channel 'action' among its outputs")
        return self.action_feature.shape[0]

    def validate_features(self) -> None:
        """Check that every input is a vector and that there is one.

        Raises:
            UserError: naming the channel.
        """
        if not self.observation_keys:
            raise UserError("the flow policy needs at least one observation channel")
        for key in self.observation_keys:
            shape = (self.input_features or {})[key].shape
            if len(shape) != 1:
                raise UserError(f"channel '{key}' has shape {shape}: the flow policy reads channels with one axis")

    def get_optimizer_preset(self) -> AdamWConfig:
        """Return the optimiser for LeRobot's trainer."""
        return AdamWConfig(lr=self.optimizer_lr, weight_decay=self.optimizer_weight_decay)

    def get_scheduler_preset(self) -> CosineDecayWithWarmupSchedulerConfig:
        """Return the schedule for LeRobot's trainer, which scales it to its number of steps."""
        return CosineDecayWithWarmupSchedulerConfig(
            num_warmup_steps=self.scheduler_warmup_steps,
            num_decay_steps=100_000,
            peak_lr=self.optimizer_lr,
            decay_lr=0.0,
        )

    @property
    def observation_delta_indices(self) -> list[int]:
        """Frames of each observation, relative to the current one."""
        return list(range(1 - self.n_obs_steps, 1))

    @property
    def action_delta_indices(self) -> list[int]:
        """Actions of a chunk, relative to the current frame."""
        return list(range(self.horizon))

    @property
    def reward_delta_indices(self) -> None:
        """No rewards are read."""
        return None
