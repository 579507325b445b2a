"""How our policies normalise in LeRobot's commands: the same as `robolearn.normalize.Normalizer` outside of them.

LeRobot keeps the pipelines beside the weights and finds their steps by the names registered here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lerobot.processor import (
    ObservationProcessorStep,
    PolicyAction,
    PolicyProcessorPipeline,
    ProcessorStepRegistry,
    TransitionKey,
    make_default_policy_processor_steps,
    make_policy_processor_pipelines,
)
from torch import Tensor

from robolearn.errors import UserError
from robolearn.language import TASK, TOKENS, Tokenizer
from robolearn.normalize import EPS, LIMIT, Statistics
from robolearn.policies.chunk_config import ChunkConfig
from robolearn.policies.vla.configuration_vla import VLAConfig
from robolearn.schema import Schema

STATE = "observation.state"
Pipelines = tuple[
    PolicyProcessorPipeline[dict[str, Any], dict[str, Any]], PolicyProcessorPipeline[PolicyAction, PolicyAction]
]


@ProcessorStepRegistry.register("robolearn_split_state")
@dataclass
class SplitStateStep(ObservationProcessorStep):
    """Cuts the vectors of several channels out of `observation.state`.

    `lerobot-rollout` knows no other channel of numbers: a robot's components all arrive in this one, in the order of
    the policy's channels. Where the channels are there already nothing happens.

    Attributes:
        widths: of each channel of numbers that the policy reads, `observation.state` first.
    """

    widths: dict[str, int] = field(default_factory=dict)

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        state = observation.get(STATE)
        if state is None or state.shape[-1] != sum(self.widths.values()) or len(self.widths) < 2:
            return observation
        parts = torch.split(state, list(self.widths.values()), dim=-1)
        return observation | dict(zip(self.widths, parts, strict=True))

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return {"widths": self.widths}

    def transform_features(self, features: Any) -> Any:
        """Return the features as they are."""
        return features


@ProcessorStepRegistry.register("robolearn_tokenize")
@dataclass
class TokenizeStep(ObservationProcessorStep):
    """Adds the ids of the instruction, LeRobot's "task", for a policy that reads one.

    Attributes:
        language: parameters of the `Tokenizer`.
    """

    language: dict[str, int] = field(default_factory=dict)

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        task = (self.transition.get(TransitionKey.COMPLEMENTARY_DATA) or {}).get(TASK)
        if task is None:
            raise UserError("the policy reads an instruction: give the task in words")
        texts = [task] if isinstance(task, str) else task
        return observation | {TOKENS: torch.from_numpy(Tokenizer(**self.language)(texts))}

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return {"language": self.language}

    def transform_features(self, features: Any) -> Any:
        """Return the features as they are."""
        return features


@ProcessorStepRegistry.register("robolearn_clip")
@dataclass
class ClipStep(ObservationProcessorStep):
    """Cuts normalised channels at +-`limit`, as `robolearn.normalize.Normalizer` does.

    Attributes:
        keys: the channels.
        limit: largest magnitude.
    """

    keys: list[str] = field(default_factory=list)
    limit: float = LIMIT

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """See the class."""
        return observation | {
            key: observation[key].clamp(-self.limit, self.limit) for key in self.keys if key in observation
        }

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return {"keys": self.keys, "limit": self.limit}

    def transform_features(self, features: Any) -> Any:
        """Return the features as they are."""
        return features


def make_pipelines(config: ChunkConfig, dataset_stats: dict[str, dict[str, Tensor]] | None) -> Pipelines:
    """Return what comes before and after a policy: observations normalised and clipped; the action's units undone.

    Args:
        config: of the policy.
        dataset_stats: as LeRobot has them; `robolearn train` gives the action's bounds as its "min" and "max".
    """
    steps = make_default_policy_processor_steps(config, dataset_stats)
    widths = {key: shape[0] for key, shape in config.observation_shapes.items() if len(shape) == 1}
    ordered = dict(sorted(widths.items(), key=lambda item: item[0] != STATE))
    before = [
        steps.rename_observations,
        steps.add_batch_dim,
        *([TokenizeStep(config.language)] if isinstance(config, VLAConfig) else ()),
        steps.to_device,
        SplitStateStep(ordered),
        steps.normalize,
        ClipStep(list(ordered)),
    ]
    pipelines: Pipelines = make_policy_processor_pipelines(before, [steps.unnormalize, steps.to_cpu])
    return pipelines


def lerobot_statistics(schema: Schema, statistics: Statistics) -> dict[str, dict[str, Tensor]]:
    """Return the statistics with which LeRobot's normalisation is that of `robolearn.normalize.Normalizer`."""
    result = {}
    for key in schema.observation_keys:
        if len(schema[key].shape) == 1:
            std = np.asarray(statistics[key]["std"], np.float32)
            result[key] = {"mean": statistics[key]["mean"], "std": np.where(std < EPS, 1.0, std)}
    result["action"] = {"min": schema.action.low, "max": schema.action.high}
    return {
        key: {name: torch.as_tensor(np.asarray(value, np.float32)) for name, value in values.items()}
        for key, values in result.items()
    }
