"""A trained reward model behind the project's contract: frames in physical units in, `Progress` out."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.rewards import RewardModelConfig
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from robolearn.errors import UserError, nearest
from robolearn.language import TOKENS
from robolearn.networks.files import fill_weights, fresh_folder
from robolearn.normalize import Normalizer, Statistics, plain_statistics
from robolearn.protocols import Observation
from robolearn.rewards.model import Reading, RewardModel
from robolearn.schema import Progress, Schema

WEIGHTS, CONFIG, SCHEMA, STATISTICS = "model.safetensors", "config.json", "schema.json", "stats.json"
# where the class of each type of checkpoint lives; imported when one is loaded
MODELS = {
    "robolearn_sarm": ("robolearn.rewards.sarm.modeling_sarm", "SARM"),
    "robolearn_pairwise": ("robolearn.rewards.pairwise.modeling_pairwise", "Pairwise"),
    "robolearn_preference": ("robolearn.rewards.preference.modeling_preference", "Preference"),
    "robolearn_recurrent": ("robolearn.rewards.recurrent.modeling_recurrent", "Recurrent"),
    "robolearn_value": ("robolearn.rewards.value.modeling_value", "Value"),
}


class TorchEstimator:
    """Satisfies `robolearn.protocols.ProgressEstimator` with a reward model."""

    def __init__(self, model: RewardModel, schema: Schema, statistics: Statistics) -> None:
        """Serve `model`.

        Args:
            model: a reward model.
            schema: channels of the training data, the action among them.
            statistics: {channel: {"mean", "std", ...}} of the training data.
        """
        self.model = model.eval()
        self.schema = schema.select([*schema.observation_keys, "action"])
        self.statistics = statistics
        self.normalizer = Normalizer(self.schema, statistics)
        self.stage_names = tuple(model.config.stage_names)
        self.reset()

    def reset(self) -> None:
        """See `robolearn.protocols.ProgressEstimator.reset`."""
        self._state = self.model.start()

    @torch.inference_mode()
    def update(self, observation: Observation, instruction: str) -> Progress:
        """See `robolearn.protocols.ProgressEstimator.update`."""
        features = self._features({key: observation[key][None] for key in self.normalizer.keys}, instruction)
        self._state, reading = self.model.step(self._state, features[0])
        return Progress(int(reading.stages.argmax()), float(reading.progress), float(reading.success))

    @torch.inference_mode()
    def episode(self, frames: Mapping[str, NDArray[Any]], instruction: str) -> Reading:
        """Return the readings of all frames [T, ...] of an episode; the same that `update` gives one by one."""
        return self.model.episode(self._features(frames, instruction))

    @torch.inference_mode()
    def kinds(self, frames: Mapping[str, NDArray[Any]], instruction: str) -> NDArray[np.float64]:
        """Return probabilities [T, 1 + kinds] of no failure and of each kind; see `Recurrent.kinds`.

        Raises:
            UserError: the model tells no kinds.
        """
        if not (names := getattr(self.model.config, "kinds", [])):
            raise UserError("this reward model tells no kinds of failure: train one with reward.kinds=[auto]")
        told: Tensor = self.model.kinds(self._features(frames, instruction))
        assert told.shape[-1] == 1 + len(names)
        return told.double().numpy()

    def progress(self, frames: Mapping[str, NDArray[Any]], instruction: str) -> NDArray[np.float64]:
        """Return the progress [T] of all frames of an episode."""
        return self.episode(frames, instruction).progress.double().numpy()

    def _features(self, frames: Mapping[str, NDArray[Any]], instruction: str) -> Tensor:
        """Return features [T, hidden_dim] of frames [T, ...] in physical units."""
        normal = self.normalizer.observation(frames)
        batch = {key: torch.from_numpy(np.ascontiguousarray(values))[None] for key, values in normal.items()}
        tokens = torch.from_numpy(self.model.frames.tokenizer([instruction]))
        features: Tensor = self.model.frames({**batch, TOKENS: tokens})[0]
        return features


def save_estimator(folder: Path, estimator: TorchEstimator) -> None:
    """Write model.safetensors, config.json (LeRobot's `save_pretrained`), schema.json and stats.json, or nothing."""
    with fresh_folder(folder) as fresh:
        estimator.model.save_pretrained(fresh)
        estimator.schema.save(fresh / SCHEMA)
        (fresh / STATISTICS).write_text(json.dumps(plain_statistics(estimator.statistics), indent=2) + "\n")


def load_estimator(folder: Path) -> TorchEstimator:
    """Read what `save_estimator` wrote.

    Raises:
        UserError: a file is missing, or the checkpoint is of another model.
    """
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS, SCHEMA, STATISTICS):
        if not (folder / name).exists():
            raise UserError(f"{folder} holds no reward model, for it lacks {name}: give what `train-reward` wrote")
    kind = json.loads((folder / CONFIG).read_text()).get("type")
    if kind not in MODELS:
        raise UserError(f"{folder} holds a reward model '{kind}'{nearest(str(kind), MODELS)}")
    module, name = MODELS[kind]
    make = getattr(importlib.import_module(module), name)  # registers the configuration too
    model: RewardModel = make(RewardModelConfig.from_pretrained(folder))
    fill_weights(model, load_file(folder / WEIGHTS), folder / WEIGHTS)
    return TorchEstimator(model, Schema.load(folder / SCHEMA), json.loads((folder / STATISTICS).read_text()))


def read_all(
    estimator: TorchEstimator, episodes: Sequence[tuple[Mapping[str, NDArray[Any]], str]]
) -> list[dict[str, NDArray[Any]]]:
    """Return "stages" [T, K + 1], "stage", "progress" and "success" [T] of episodes (frames, instruction)."""
    readings = [estimator.episode(frames, instruction) for frames, instruction in episodes]
    return [
        {
            "stages": one.stages.numpy(),
            "stage": one.stages.argmax(-1).numpy(),
            "progress": one.progress.numpy(),
            "success": one.success.numpy(),
        }
        for one in readings
    ]
