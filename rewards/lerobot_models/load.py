"""Load a reward model that LeRobot's trainer or its authors have left in a folder."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from lerobot.configs.rewards import RewardModelConfig
from lerobot.rewards.factory import get_reward_model_class

from robolearn.errors import UserError
from robolearn.normalize import Statistics
from robolearn.protocols import ProgressEstimator
from robolearn.rewards.lerobot_models.files import base_of, first_line, plain

CLIP = "openai/clip-vit-base-patch32"  # LeRobot's SARM knows no other


class LeRobotEstimator(ProgressEstimator, Protocol):
    """An estimator that says what it reads.

    Attributes:
        keys: channels that it reads; the first are pictures.
        stage_names: the stages that it knows, in order; empty where it knows none, and its stage is always 0.
    """

    keys: tuple[str, ...]
    stage_names: tuple[str, ...]


def lerobot_kind(folder: Path) -> str | None:
    """Return which of LeRobot's reward models a folder holds: "sarm", "robometer" or "topreward"; None if none."""
    path = folder / "config.json"
    kind = json.loads(path.read_text(encoding="utf-8")).get("type") if path.exists() else None
    return kind if kind in LOADERS else None


def load_lerobot_model(folder: Path, statistics: Statistics, *, camera: str | None = None) -> LeRobotEstimator:
    """Load SARM (Chen et al. 2025), Robometer (Liang et al. 2026) or TOPReward (Chen et al. 2026) as LeRobot has them.

    Each is built on a model of transformers: the CLIP model that encodes for SARM, the processor of Robometer's
    vision-language model, or the one that TOPReward is. It lies in the checkpoint's folder as `base`, where the
    configuration says, or in the cache of Hugging Face's hub; nothing is downloaded.

    Args:
        folder: `config.json`, and `model.safetensors` but for TOPReward, which has no weights of its own.
        statistics: "mean" and "std" of the channel of states, for SARM: LeRobot takes those of the dataset at hand.
        camera: channel of pictures; None means the configuration's.

    Raises:
        UserError: something is missing, or the weights are not those of the configuration.
    """
    kind = lerobot_kind(folder)
    if kind is None:
        raise UserError(f"{folder} holds none of LeRobot's {', '.join(LOADERS)}: give a folder with their config.json")
    config: Any = RewardModelConfig.from_pretrained(folder)
    config.image_key = camera or config.image_key
    return LOADERS[kind](folder, config, statistics)


def _sarm(folder: Path, config: Any, statistics: Statistics) -> LeRobotEstimator:
    from robolearn.rewards.lerobot_models.sarm import Clip, Sarm

    base = plain(base_of(folder, CLIP), weights=True)
    return Sarm(_model(folder, config), Clip(base, config.device), statistics)


def _robometer(folder: Path, config: Any, statistics: Statistics) -> LeRobotEstimator:
    importlib.import_module("qwen_vl_utils")  # LeRobot wants it as well, and says so later
    from robolearn.rewards.lerobot_models.video import Robometer

    config.base_model_id = str(plain(base_of(folder, config.base_model_id)))
    config.pretrained_path = str(folder)  # else LeRobot loads the weights of the base first
    return Robometer(_model(folder, config))


def _topreward(folder: Path, config: Any, statistics: Statistics) -> LeRobotEstimator:
    from robolearn.rewards.lerobot_models.video import TopReward

    config.vlm_name = str(plain(base_of(folder, config.vlm_name), weights=True))
    return TopReward(_model(folder, config))


LOADERS: dict[str, Callable[[Path, Any, Statistics], LeRobotEstimator]] = {
    "sarm": _sarm,
    "robometer": _robometer,
    "topreward": _topreward,
}


def _model(folder: Path, config: Any) -> Any:
    """Let LeRobot build the model and load its weights."""
    try:
        return get_reward_model_class(config.type).from_pretrained(folder, config=config, strict=True)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"{folder} is no checkpoint of LeRobot's {config.type}: {first_line(error)}") from error
