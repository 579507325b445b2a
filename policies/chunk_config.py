"""What the configurations of all policies that sample action chunks have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from lerobot.configs import FeatureType, NormalizationMode, PolicyFeature, PreTrainedConfig
from lerobot.optim import AdamWConfig, CosineDecayWithWarmupSchedulerConfig
from lerobot.policies.rtc.configuration_rtc import RTCConfig

from robolearn.errors import UserError, nearest
from robolearn.networks.encoders import VISION, require_large_enough
from robolearn.schema import Feature, Schema

STAGE = "observation.stage"  # a label that datasets keep under "observation."; no policy may read it
BACKBONES = ("mlp", "unet", "dit")
AT_LEAST_ONE = (
    "n_obs_steps",
    "hidden_dim",
    "num_blocks",
    "condition_dim",
    "num_heads",
    "kernel_size",
    "n_groups",
    "vision_dim",
    "num_inference_steps",
)


@dataclass
class ChunkConfig(PreTrainedConfig):
    """A network that denoises action chunks, given state and pictures.

    Attributes:
        n_obs_steps: frames of history, the current one included.
        horizon: length of the predicted chunk; its first action is the current step's.
        n_action_steps: actions executed before the next prediction.
        backbone: "mlp" (a residual MLP over the flattened chunk), "unet" or "dit".
        hidden_dim: width of the blocks of mlp and dit.
        num_blocks: number of blocks of mlp and dit.
        condition_dim: width of the mlp's embedding of observation and time.
        num_heads: attention heads of dit.
        down_dims: channels of each resolution of unet, which halves the chunk between them.
        kernel_size: of unet's convolutions.
        n_groups: groups of unet's normalisation.
        diffusion_step_embed_dim: width of unet's embedding of time.
        use_film_scale_modulation: whether unet's FiLM scales, besides shifting.
        vision: network for pictures: "cnn", "vit", "resnet18" or "resnet34".
        vision_dim: width of an encoded picture.
        crop_ratio: side of the crop that is encoded, as a share of the picture's.
        horizons: lengths of a mixture of horizons, rising to `horizon`; empty for a single one. Needs dit.
        individual_weight: weight of the horizons' own losses.
        balance_weight: weight of the loss that keeps the gate from preferring few horizons.
        dynamic_horizon: execute as much of a chunk as the horizons agree on, instead of `n_action_steps`.
        consensus_ratio: disagreement up to which an action is executed, as a multiple of that of the first ones.
        consensus_steps: these first ones; they are always executed.
        consensus_horizons: horizons that must reach an action for it to be executed.
        num_inference_steps: steps from noise to actions.
        rtc_config: how the rest of the chunk before guides a new one (real-time chunking); None for LeRobot's values.
    """

    n_obs_steps: int = 2
    horizon: int = 16
    n_action_steps: int = 8
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: {
            "VISUAL": NormalizationMode.IDENTITY,  # the encoders scale pixels
            "STATE": NormalizationMode.MEAN_STD,
            "ENV": NormalizationMode.MEAN_STD,
            "ACTION": NormalizationMode.MIN_MAX,
        }
    )

    backbone: str = "mlp"
    hidden_dim: int = 192
    num_blocks: int = 3
    condition_dim: int = 64
    num_heads: int = 4
    down_dims: tuple[int, ...] = (64, 128, 256)
    kernel_size: int = 5
    n_groups: int = 8
    diffusion_step_embed_dim: int = 128
    use_film_scale_modulation: bool = True

    vision: str = "cnn"
    vision_dim: int = 64
    crop_ratio: float = 0.9

    horizons: tuple[int, ...] = ()
    individual_weight: float = 1.0
    balance_weight: float = 1e-3
    dynamic_horizon: bool = False
    consensus_ratio: float = 1.1
    consensus_steps: int = 4
    consensus_horizons: int = 2

    num_inference_steps: int = 10
    rtc_config: RTCConfig | None = None

    optimizer_lr: float = 1e-3
    optimizer_weight_decay: float = 1e-4
    scheduler_warmup_steps: int = 200

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: a value makes no sense; the message says which would.
        """
        super().__post_init__()
        self.down_dims, self.horizons = tuple(self.down_dims), tuple(self.horizons)
        if not 1 <= self.n_action_steps <= self.horizon:
            raise UserError(f"n_action_steps is {self.n_action_steps}: it must lie in 1..horizon ({self.horizon})")
        for name in AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 1")
        self.require_one_of("backbone", BACKBONES)
        self.require_one_of("vision", VISION)
        if not 0 < self.crop_ratio <= 1:
            raise UserError(f"crop_ratio is {self.crop_ratio}: it must lie above 0 and be at most 1")
        if self.backbone == "unet":
            self._check_unet()
        if self.backbone == "dit" and self.hidden_dim % (2 * self.num_heads):
            raise UserError(f"hidden_dim is {self.hidden_dim}: dit needs a multiple of 2 num_heads ({self.num_heads})")
        self._check_horizons()

    def require_one_of(self, name: str, valid: Any) -> None:
        """Check that a field has one of the valid values.

        Raises:
            UserError: with the nearest of them.
        """
        if (value := getattr(self, name)) not in valid:
            raise UserError(f"unknown {name} '{value}'{nearest(str(value), valid)}")

    def _check_unet(self) -> None:
        if not self.down_dims or any(dim < 1 or dim % self.n_groups for dim in self.down_dims):
            raise UserError(f"down_dims is {self.down_dims}: unet needs multiples of n_groups ({self.n_groups})")
        if self.horizon % (factor := 2 ** (len(self.down_dims) - 1)):
            raise UserError(
                f"horizon is {self.horizon}: unet with {len(self.down_dims)} down_dims needs a multiple of {factor}"
            )
        if self.kernel_size % 2 == 0 or self.diffusion_step_embed_dim % 2:
            raise UserError("unet needs an odd kernel_size and an even diffusion_step_embed_dim")

    def _check_horizons(self) -> None:
        if not self.horizons:
            if self.dynamic_horizon:
                raise UserError("dynamic_horizon needs a mixture: give horizons, e.g. [4,8,16]")
            return
        if self.backbone != "dit":
            raise UserError(f"horizons need backbone=dit, not {self.backbone}")
        if len(self.horizons) < 2 or list(self.horizons) != sorted({*self.horizons, self.horizon} - {0}):
            raise UserError(f"horizons is {list(self.horizons)}: give two or more that rise to {self.horizon}")
        if not 1 <= self.consensus_steps <= self.horizon or not 1 <= self.consensus_horizons <= len(self.horizons):
            raise UserError(
                f"consensus_steps must lie in 1..horizon ({self.horizon}) and consensus_horizons in "
                f"1..{len(self.horizons)}, the number of horizons"
            )

    @classmethod
    def from_schema(cls, schema: Schema, **settings: Any) -> Self:
        """Return the configuration whose inputs are the schema's observations and whose output is its action.

        Raises:
            UserError: an observation is neither a vector nor an RGB picture.
        """
        inputs = {key: _input_feature(key, schema[key]) for key in schema.observation_keys}
        outputs = {"action": PolicyFeature(FeatureType.ACTION, schema.action.shape)}
        config = cls(input_features=inputs, output_features=outputs, device="cpu", push_to_hub=False, **settings)
        config.validate_features()
        return config

    @property
    def observation_keys(self) -> tuple[str, ...]:
        """Names of the channels that the policy reads, in order."""
        return tuple(key for key in self.input_features or {} if key != STAGE)

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one frame of each channel: (dim,), or (height, width, 3) for pictures."""
        features = self.input_features or {}
        return {key: _frame_shape(features[key]) for key in self.observation_keys}

    @property
    def action_dim(self) -> int:
        """Width of the action."""
        if self.action_feature is None:
            raise UserError(f"policy {self.type} needs the channel 'action' among its outputs")
        return self.action_feature.shape[0]

    @property
    def chunk_size(self) -> int:
        """LeRobot's name of `horizon`, by which its RA-BC looks ahead."""
        return self.horizon

    @property
    def consensus(self) -> dict[str, Any] | None:
        """Arguments of `robolearn.sampling.agreed_steps`; None where `n_action_steps` are always executed."""
        if not self.dynamic_horizon:
            return None
        return {
            "horizons": list(self.horizons),
            "ratio": self.consensus_ratio,
            "steps": self.consensus_steps,
            "voters": self.consensus_horizons,
        }

    def validate_features(self) -> None:
        """Check that every input is a vector or a picture and that there is one.

        Raises:
            UserError: naming the channel.
        """
        if not self.observation_keys:
            raise UserError(f"policy {self.type} needs at least one observation channel")
        for key, shape in self.observation_shapes.items():
            if len(shape) == 3 and shape[2] == 3:
                require_large_enough((shape[0], shape[1]), vision=self.vision, crop_ratio=self.crop_ratio, key=key)
            elif len(shape) != 1:
                raise UserError(
                    f"channel '{key}' has shape {shape}: policy {self.type} reads channels with one axis and RGB "
                    "pictures; use a dataset without it"
                )

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


def _input_feature(key: str, feature: Feature) -> PolicyFeature:
    if feature.is_picture:
        height, width, channels = feature.shape
        return PolicyFeature(FeatureType.VISUAL, (channels, height, width))  # LeRobot's order
    kind = FeatureType.ENV if key == "observation.environment_state" else FeatureType.STATE
    return PolicyFeature(kind, feature.shape)


def _frame_shape(feature: PolicyFeature) -> tuple[int, ...]:
    shape = tuple(feature.shape)
    return (*shape[1:], shape[0]) if feature.type is FeatureType.VISUAL else shape
