"""Read the `pretrained_model` folder that LeRobot's trainer writes."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from lerobot.configs import FeatureType, PreTrainedConfig
from lerobot.policies import get_policy_class, make_pre_post_processors
from lerobot.processor.pipeline import ProcessorMigrationError
from lerobot.utils.constants import OBS_ENV_STATE, OBS_STATE

from robolearn.errors import UserError, nearest
from robolearn.policies.lerobot_adapter.policy import LeRobotPolicy
from robolearn.policies.lerobot_adapter.sources import SOURCES
from robolearn.policies.serving import CONFIG, POLICIES, WEIGHTS, load_weights
from robolearn.schema import Schema


def load_lerobot_policy(folder: Path, schema: Schema) -> LeRobotPolicy:
    """Load a policy with its processors.

    Args:
        folder: has config.json, model.safetensors, and the processors' files.
        schema: names, units and bounds of the channels, which LeRobot does not keep; it may have more than are read.

    Raises:
        UserError: a type of policy that is not served here, files that do not fit together, or other channels.
    """
    config = _read_config(folder)
    policy = get_policy_class(config.type)(config)
    load_weights(policy, folder / WEIGHTS)
    channels = _channels(config)
    _require_channels(channels, schema, folder)
    try:
        pipelines = make_pre_post_processors(
            config, str(folder), preprocessor_overrides={"device_processor": {"device": "cpu"}}
        )
    except (ProcessorMigrationError, FileNotFoundError, KeyError) as error:
        raise UserError(f"the processors in {folder} cannot be read: {error}") from error
    source = SOURCES[config.type](policy) if config.type in SOURCES else policy
    return LeRobotPolicy(source, schema.select(channels), pipelines)


def _read_config(folder: Path) -> Any:
    kind = json.loads((folder / CONFIG).read_text()).get("type")
    if kind not in (*SOURCES, *POLICIES):
        raise UserError(f"{folder} holds a policy of type '{kind}'{nearest(str(kind), (*SOURCES, *POLICIES))}")
    if kind in POLICIES:
        importlib.import_module(POLICIES[kind][0])  # registers its type
    config = PreTrainedConfig.from_pretrained(folder, cli_overrides=["--device=cpu"])
    if hasattr(config, "pretrained_backbone_weights"):
        config.pretrained_backbone_weights = None  # they are in the checkpoint: nothing needs to be downloaded
    return config


def _channels(config: Any) -> dict[str, tuple[int, ...]]:
    """Shape of one frame of each channel that the policy reads or gives, as a schema has it."""
    read = getattr(config, "observation_keys", None)
    if read is None:
        read = [k for k, f in config.input_features.items() if k in (OBS_STATE, OBS_ENV_STATE) or _is_picture(f)]
    features = {key: config.input_features[key] for key in read} | {"action": config.action_feature}
    shapes = {key: tuple(feature.shape) for key, feature in features.items()}
    return {key: (*s[1:], s[0]) if _is_picture(features[key]) else s for key, s in shapes.items()}


def _is_picture(feature: Any) -> bool:
    return feature.type is FeatureType.VISUAL


def _require_channels(channels: dict[str, tuple[int, ...]], schema: Schema, folder: Path) -> None:
    for key, shape in channels.items():
        there = schema[key].shape if key in schema else "absent"
        if shape != there:
            raise UserError(
                f"channel '{key}' has shape {shape} in the policy of {folder} but is {there} in the task: choose the "
                "task, robot and cameras that it was trained on"
            )
