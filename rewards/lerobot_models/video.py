"""LeRobot's vision-language reward models, asked about the part of an episode that is over.

They look at frames spread evenly from the first to the newest one, as LeRobot's script for Robometer does. So an
episode's pictures are kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from lerobot.lerobot_types import TransitionKey
from lerobot.rewards.robometer.modeling_robometer import (
    ROBOMETER_FEATURE_PREFIX,
    RobometerRewardModel,
    decode_progress_outputs,
)
from lerobot.rewards.robometer.processor_robometer import RobometerEncoderProcessorStep
from lerobot.rewards.topreward.modeling_topreward import TOPRewardModel
from lerobot.rewards.topreward.processor_topreward import TOPRewardEncoderProcessorStep
from numpy.typing import NDArray
from torch import Tensor

from robolearn.protocols import Observation
from robolearn.schema import Progress


class Pictures:
    """The pictures of an episode so far."""

    def __init__(self, most: int | None) -> None:
        """Show `most` of them at a time, all where None."""
        self._most = most
        self._kept: list[NDArray[np.uint8]] = []

    def clear(self) -> None:
        """Begin an episode."""
        self._kept = []

    def add(self, picture: NDArray[np.uint8]) -> Tensor:
        """Take the next picture [height, width, 3], and return those shown, uint8 [1, frames, 3, height, width]."""
        self._kept.append(picture.copy())
        newest = len(self._kept) - 1
        shown = np.linspace(0, newest, self._most or newest + 1).round().astype(np.int64)
        shown[-1] = newest  # also of one
        return torch.from_numpy(np.stack([self._kept[i] for i in shown])).permute(0, 3, 1, 2)[None]


class Robometer:
    """Satisfies `robolearn.rewards.lerobot_models.load.LeRobotEstimator`; knows no stages."""

    stage_names: tuple[str, ...] = ()

    def __init__(self, model: RobometerRewardModel) -> None:
        """Serve a model, with the processor in the folder that its configuration names."""
        config = model.config
        self.keys: tuple[str, ...] = (config.image_key,)
        self._model, self._config = model.eval(), config
        self._pictures = Pictures(config.max_frames)
        self._encode = RobometerEncoderProcessorStep(
            base_model_id=config.base_model_id,
            image_key=config.image_key,
            task_key=config.task_key,
            max_frames=config.max_frames,
            use_multi_image=config.use_multi_image,
            use_per_frame_progress_token=config.use_per_frame_progress_token,
        )

    def reset(self) -> None:
        """See `robolearn.protocols.ProgressEstimator.reset`."""
        self._pictures.clear()

    @torch.inference_mode()
    def update(self, observation: Observation, instruction: str) -> Progress:
        """See `robolearn.protocols.ProgressEstimator.update`."""
        batch = _encoded(self._encode, self._config, self._pictures.add(observation[self.keys[0]]), instruction)
        inputs = {
            key.removeprefix(ROBOMETER_FEATURE_PREFIX): value
            for key, value in batch.items()
            if key.startswith(ROBOMETER_FEATURE_PREFIX)
        }
        # `compute_reward` says either of both, and would run the model twice
        told = decode_progress_outputs(
            *self._model._compute_rbm_logits(inputs), is_discrete_mode=self._config.use_discrete_progress
        )
        progress, success = (told[key][0][-1] for key in ("progress_pred", "success_probs"))
        return Progress(0, float(np.clip(progress, 0.0, 1.0)), success)


class TopReward:
    """Satisfies `robolearn.rewards.lerobot_models.load.LeRobotEstimator`; knows no stages.

    Progress and success are the probability of the answer "True". LeRobot's script stretches an episode's
    log-probabilities to [0, 1] when it is over, which cannot be done before.
    """

    stage_names: tuple[str, ...] = ()

    def __init__(self, model: TOPRewardModel) -> None:
        """Serve a model, with the processor in the folder that its configuration names."""
        config = model.config
        self.keys: tuple[str, ...] = (config.image_key,)
        self._model, self._config = model.eval(), config
        config.success_threshold = -math.inf  # else it says 0 or 1
        self._pictures = Pictures(config.max_frames)
        self._encode = TOPRewardEncoderProcessorStep(
            vlm_name=config.vlm_name,
            image_key=config.image_key,
            task_key=config.task_key,
            max_frames=config.max_frames,
            fps=config.fps,
            prompt_prefix=config.prompt_prefix,
            prompt_suffix_template=config.prompt_suffix_template,
            add_chat_template=config.add_chat_template,
            max_length=config.max_input_length,
        )

    def reset(self) -> None:
        """See `robolearn.protocols.ProgressEstimator.reset`."""
        self._pictures.clear()

    @torch.inference_mode()
    def update(self, observation: Observation, instruction: str) -> Progress:
        """See `robolearn.protocols.ProgressEstimator.update`."""
        batch = _encoded(self._encode, self._config, self._pictures.add(observation[self.keys[0]]), instruction)
        value = math.exp(float(self._model.compute_reward(batch)[0]))
        return Progress(0, value, value)


def _encoded(step: Any, config: Any, video: Tensor, instruction: str) -> dict[str, Any]:
    """Let LeRobot's processor make a batch of one film, on the model's device."""
    transition = {
        TransitionKey.OBSERVATION: {config.image_key: video},
        TransitionKey.COMPLEMENTARY_DATA: {config.task_key: instruction},
    }
    batch = step(transition)[TransitionKey.OBSERVATION]
    return {key: value.to(config.device) if isinstance(value, Tensor) else value for key, value in batch.items()}
