"""LeRobot's SARM as it is shipped, asked at the newest frame."""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.lerobot_types import TransitionKey
from lerobot.processor import NormalizerProcessorStep
from lerobot.rewards.sarm.modeling_sarm import SARMRewardModel
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

from robolearn.errors import UserError
from robolearn.normalize import Statistics
from robolearn.protocols import Observation
from robolearn.rewards.lerobot_models.files import first_line
from robolearn.schema import Progress

PROCESSOR: Any = CLIPProcessor  # half typed
MODEL: Any = CLIPModel


class Clip:
    """Encodes pictures and sentences (CLIP, Radford et al. 2021), as LeRobot's `SARMEncodingProcessorStep` does."""

    def __init__(self, folder: Path, device: str) -> None:
        """Load what `save_pretrained` of model and processor has written.

        Raises:
            UserError: the folder does not hold such a model.
        """
        try:
            self._model = MODEL.from_pretrained(folder, local_files_only=True, use_safetensors=True).to(device).eval()
            self._processor = PROCESSOR.from_pretrained(folder, local_files_only=True)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise UserError(f"'{folder}' is no CLIP model with its processor: {first_line(error)}") from error
        self._device = device
        self.sentence = lru_cache(maxsize=256)(self._sentence)

    def picture(self, picture: NDArray[np.uint8]) -> Tensor:
        """Return the features [dim] of a picture [height, width, 3]."""
        inputs = self._processor(images=[Image.fromarray(picture)], return_tensors="pt").to(self._device)
        features: Tensor = self._model.get_image_features(**inputs).pooler_output[0]
        return features

    def _sentence(self, text: str) -> Tensor:
        """Return the features [1, dim] of a sentence."""
        inputs = self._processor.tokenizer([text], return_tensors="pt", padding=True, truncation=True).to(self._device)
        features: Tensor = self._model.get_text_features(**inputs).pooler_output
        return features


class Sarm:
    """Satisfies `robolearn.rewards.lerobot_models.load.LeRobotEstimator`.

    LeRobot's model was trained to say how far the frame in the middle of its window is, half of which comes later.
    There is no later frame at run time. It sees the newest one again in their place, as it does at the end of an
    episode in training. It predicts no success; the progress stands for it.
    """

    def __init__(self, model: SARMRewardModel, clip: Clip, statistics: Statistics) -> None:
        """Serve a model.

        Args:
            model: LeRobot's.
            clip: encoder whose features are as wide as the model's inputs.
            statistics: "mean" and "std" of the channel of states.

        Raises:
            UserError: the statistics lack this channel.
        """
        config = model.config
        self.keys: tuple[str, ...] = (config.image_key, config.state_key)
        if config.state_key not in statistics:
            raise UserError(f"the statistics lack the channel '{config.state_key}', which LeRobot's SARM reads")
        self._model, self._clip, self._config = model.eval(), clip, config
        self._head = "dense" if config.uses_dual_heads else "sparse"
        count = config.num_dense_stages if config.uses_dual_heads else config.num_sparse_stages
        names = config.dense_subtask_names if config.uses_dual_heads else config.sparse_subtask_names
        self.stage_names = tuple(names or (f"stage_{k + 1}" for k in range(count)))
        self._normalize = NormalizerProcessorStep(
            features={config.state_key: PolicyFeature(FeatureType.STATE, (config.max_state_dim,))},
            norm_map=config.normalization_mapping,
            stats=dict(statistics),
            device=config.device,
        )
        later = np.array(config.observation_delta_indices[: 1 + config.n_obs_steps])
        self._middle = len(later) // 2
        self._ago = -np.minimum(later, 0)
        self.reset()

    def reset(self) -> None:
        """See `robolearn.protocols.ProgressEstimator.reset`."""
        self._seen: deque[tuple[Tensor, Tensor]] = deque(maxlen=int(self._ago.max()) + 1)

    @torch.inference_mode()
    def update(self, observation: Observation, instruction: str) -> Progress:
        """See `robolearn.protocols.ProgressEstimator.update`."""
        picture, state = (observation[key] for key in self.keys)
        self._seen.append((self._clip.picture(picture), self._normal(state)))
        window = [self._seen[-1 - min(int(ago), len(self._seen) - 1)] for ago in self._ago]
        video, states = (torch.stack(part)[None] for part in zip(*window, strict=True))
        progress, stages = self._model.calculate_rewards(
            text_embeddings=self._clip.sentence(instruction),
            video_embeddings=video,
            state_features=states,
            return_all_frames=True,
            return_stages=True,
            head_mode=self._head,
        )
        value = float(progress[0, self._middle])
        return Progress(int(stages[0, self._middle].argmax()), value, value)

    def _normal(self, state: NDArray[np.floating]) -> Tensor:
        key = self._config.state_key
        transition = {TransitionKey.OBSERVATION: {key: torch.from_numpy(np.asarray(state, np.float32))}}
        normal: Tensor = self._normalize(transition)[TransitionKey.OBSERVATION][key]
        return normal
