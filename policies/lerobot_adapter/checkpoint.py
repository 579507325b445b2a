"""Read the `pretrained_model` folder that LeRobot's trainer writes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lerobot.configs import FeatureType, PreTrainedConfig
from lerobot.policies import get_policy_class, make_pre_post_processors
from lerobot.processor import TokenizerProcessorStep
from lerobot.processor.pipeline import ProcessorMigrationError
from lerobot.utils.constants import OBS_ENV_STATE, OBS_IMAGES, OBS_STATE

from robolearn.errors import UserError, nearest
from robolearn.policies.lerobot_adapter.policy import LeRobotPolicy
from robolearn.policies.lerobot_adapter.sources import SOURCES
from robolearn.policies.lerobot_adapter.vla import VlaChunks, VlaPolicy
from robolearn.policies.lerobot_adapter.vla_files import VLAS, build_vla, find_vlm, load_vla_weights, vlm_name
from robolearn.policies.lerobot_processors import Pipelines
from robolearn.policies.serving import CONFIG, POLICIES, WEIGHTS, load_weights
from robolearn.schema import Schema

EMPTY_CAMERA = f"{OBS_IMAGES}.empty_camera_"  # LeRobot's name for a picture that is always black


def load_lerobot_policy(folder: Path, schema: Schema) -> LeRobotPolicy:
    """Load a policy with its processors.

    Args:
        folder: has config.json, model.safetensors, and the processors' files.
        schema: names, units and bounds of the channels, which LeRobot does not keep; it may have more than are read.

    Raises:
        UserError: a type of policy that is not served here, files that do not fit together, or other channels.
    """
    config = read_config(folder)
    channels = _channels(config)
    _require_channels(channels, schema, folder)
    if config.type in VLAS:
        return _load_vla(folder, config, schema.select(channels))
    policy = get_policy_class(config.type)(config)
    load_weights(policy, folder / WEIGHTS)
    source = SOURCES[config.type](policy) if config.type in SOURCES else policy
    return LeRobotPolicy(source, schema.select(channels), load_pipelines(folder, config))


def load_pipelines(
    folder: Path, config: Any, *, vlm: Path | None = None, statistics: Mapping[str, Any] | None = None
) -> Pipelines:
    """Read the processors before and after a policy.

    Args:
        folder: of the policy.
        config: of the policy.
        vlm: folder of the tokeniser, if the policy has one; what is saved later still names LeRobot's own.
        statistics: of other data than the policy has seen, whose channels are those of `config`.

    Raises:
        UserError: they are of another version of LeRobot, or incomplete.
    """
    before: dict[str, Any] = {"device_processor": {"device": "cpu"}}
    after: dict[str, Any] = {}
    if vlm is not None:
        before["tokenizer_processor"] = {"tokenizer_name": str(vlm)}
    if statistics is not None:
        common = {"norm_map": config.normalization_mapping, "stats": statistics}
        before["normalizer_processor"] = {"features": {**config.input_features, **config.output_features}, **common}
        before["rename_observations_processor"] = {"rename_map": {}}
        after["unnormalizer_processor"] = {"features": config.output_features, **common}
    try:
        pipelines: Pipelines = make_pre_post_processors(
            config, str(folder), preprocessor_overrides=before, postprocessor_overrides=after
        )
    except (ProcessorMigrationError, OSError, KeyError, ImportError) as error:
        raise UserError(f"the processors in {folder} cannot be read: {error}") from error
    for step in pipelines[0].steps:
        if isinstance(step, TokenizerProcessorStep):
            step.tokenizer_name = vlm_name(folder, config)
    return pipelines


def read_config(folder: Path) -> Any:
    """Read a policy's configuration, for the CPU.

    Raises:
        UserError: it is of a type that is not served here.
    """
    served = (*SOURCES, *VLAS, *POLICIES)
    kind = json.loads((folder / CONFIG).read_text()).get("type")
    if kind not in served:
        raise UserError(f"{folder} holds a policy of type '{kind}'{nearest(str(kind), served)}")
    if kind in POLICIES:
        importlib.import_module(POLICIES[kind][0])  # registers its type
    config = PreTrainedConfig.from_pretrained(folder, cli_overrides=["--device=cpu"])
    if hasattr(config, "pretrained_backbone_weights"):
        config.pretrained_backbone_weights = None  # they are in the checkpoint: nothing needs to be downloaded
    return config


def _load_vla(folder: Path, config: Any, schema: Schema) -> VlaPolicy:
    """Load a vision-language-action policy, to a GPU where there is one."""
    vlm = find_vlm(folder, config)
    policy = build_vla(config, vlm)
    load_vla_weights(policy, folder / WEIGHTS)
    policy.to("cuda" if torch.cuda.is_available() else "cpu")
    return VlaPolicy(VlaChunks(policy), schema, load_pipelines(folder, config, vlm=vlm), vlm)


def _channels(config: Any) -> dict[str, tuple[int, ...]]:
    """Shape of one frame of each channel that the policy reads or gives, as a schema has it."""
    read = getattr(config, "observation_keys", None)
    if read is None:
        read = [k for k, f in config.input_features.items() if k in (OBS_STATE, OBS_ENV_STATE) or _is_picture(f)]
        read = [k for k in read if not k.startswith(EMPTY_CAMERA)]
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
