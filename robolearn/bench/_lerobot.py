"""LeRobot's diffusion and ACT policies at the size of ours, with the processors that its trainer gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from robolearn.schema import Schema

REPO = "local/bench"  # LeRobot wants a name even where there is no hub
UNET: dict[str, Any] = {
    "down_dims": (64, 128, 256),
    "kernel_size": 5,
    "n_groups": 8,
    "diffusion_step_embed_dim": 128,
    "use_film_scale_modulation": True,
}
# as much work for a training step as the U-Net; the layers are LeRobot's but for the encoder of its autoencoder
TRANSFORMER: dict[str, Any] = {
    "dim_model": 128,
    "dim_feedforward": 512,
    "n_heads": 8,
    "n_encoder_layers": 4,
    "n_decoder_layers": 1,
    "n_vae_encoder_layers": 2,
}
DDIM: dict[str, Any] = {"noise_scheduler_type": "DDIM", "num_inference_steps": 10}


class Built(NamedTuple):
    """An untrained policy of LeRobot.

    Attributes:
        policy: it.
        before: its pre-processor: a batch in physical units to what it reads.
        after: its post-processor: what it gives to actions in physical units.
    """

    policy: Any
    before: Any
    after: Any


def diffusion_config(schema: Schema, *, n_obs_steps: int, horizon: int, n_action_steps: int, **settings: Any) -> Any:
    """LeRobot's `DiffusionConfig` with our U-Net's sizes; `settings` are further fields of it."""
    from lerobot.configs import NormalizationMode
    from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig

    return DiffusionConfig(
        **_features(schema),
        n_obs_steps=n_obs_steps,
        horizon=horizon,
        n_action_steps=n_action_steps,
        normalization_mapping=dict.fromkeys(("STATE", "ENV", "ACTION"), NormalizationMode.MIN_MAX),
        **UNET,
        **settings,
    )


def act_config(schema: Schema, *, horizon: int, n_action_steps: int) -> Any:
    """LeRobot's `ACTConfig`, small; its autoencoder is trained along."""
    from lerobot.configs import NormalizationMode
    from lerobot.policies.act.configuration_act import ACTConfig

    return ACTConfig(
        **_features(schema),
        chunk_size=horizon,
        n_action_steps=n_action_steps,
        normalization_mapping=dict.fromkeys(("STATE", "ENV", "ACTION"), NormalizationMode.MEAN_STD),
        pretrained_backbone_weights=None,
        **TRANSFORMER,
    )


def _features(schema: Schema) -> dict[str, Any]:
    """Inputs and outputs, on the CPU.

    `observation.environment_state` is normalised like the state: by LeRobot's defaults it is not.
    """
    from lerobot.configs import FeatureType, PolicyFeature

    kinds = {"observation.state": FeatureType.STATE, "observation.environment_state": FeatureType.ENV}
    return {
        "input_features": {key: PolicyFeature(kind, schema[key].shape) for key, kind in kinds.items()},
        "output_features": {"action": PolicyFeature(FeatureType.ACTION, schema.action.shape)},
        "device": "cpu",
        "push_to_hub": False,
    }


def make(config: Any, root: Path) -> Built:
    """Build a configured policy, and its processors by the statistics of the dataset at `root`."""
    from lerobot.datasets.lerobot_dataset import LeRobotDatasetMetadata
    from lerobot.policies import get_policy_class, make_pre_post_processors

    statistics = LeRobotDatasetMetadata(REPO, root=root).stats
    before, after = make_pre_post_processors(config, dataset_stats=statistics)
    return Built(get_policy_class(config.type)(config), before, after)


def count_parameters(policy: Any) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in policy.parameters() if p.requires_grad)
