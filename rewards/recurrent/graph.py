"""One step of the recurrent model as a graph: shapes that never change, physical units in, state in and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robolearn.bundle_format import MONITOR_STATE, TOLD, input_name
from robolearn.normalize import LIMIT, Normalizer
from robolearn.rewards.recurrent.modeling_recurrent import Recurrent
from robolearn.rewards.serving import TorchEstimator


class StepGraph(nn.Module):
    """`Recurrent.step` with a batch of 1.

    The state is the memory [1, hidden_dim] after the last complete snippet, the features [1, snippet, hidden_dim] of
    the frames since then, and one more than their number [1]; what is behind them does not matter. It begins with
    zeros: no frame was seen.
    """

    def __init__(self, model: Recurrent, normalizer: Normalizer) -> None:
        """Take a model, and what it normalises by."""
        super().__init__()
        self.model, self.keys = model, normalizer.keys
        for key in model.frames.numbers:
            transform = normalizer[key]
            self.register_buffer(f"offset_{input_name(key)}", torch.from_numpy(transform.offset))
            self.register_buffer(f"scale_{input_name(key)}", torch.from_numpy(transform.scale))
        self.eval()  # who exports it restores this mode afterwards, in the model too

    def forward(
        self, memory: Tensor, begun: Tensor, count: Tensor, tokens: Tensor, *channels: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the next state and the frame's reading.

        Args:
            memory: see the class.
            begun: likewise.
            count: likewise, int64.
            tokens: [1, words, pieces] of the instruction, int64.
            channels: [1, ...] of the frame in physical units, in the order of the model's channels.

        Returns:
            Memory, begun and count; probabilities of the stages [1, K + 1], the last of which is that of success, and
            progress [1]; and, of a model that tells kinds of failure, their probabilities [1, 1 + kinds].
        """
        size = self.model.config.snippet
        frame = {key: self._normal(key, values)[:, None] for key, values in zip(self.keys, channels, strict=True)}
        features = self.model.frames.encode(frame, self.model.frames.sentence(tokens))
        memory = torch.where((count == 0)[:, None], self.model.settled(features[:, 0]), memory)
        seen = (count - 1).clamp(min=0)
        snippet = torch.where((torch.arange(size) < seen[:, None])[..., None], begun, features)
        known = self.model.mixed(snippet, memory)
        full = seen + 1 >= size
        memory = torch.where(full[:, None], self.model.remember(snippet, memory), memory)
        reading = self.model.read(known)
        kinds = (self.model.kinds_of(known),) if self.model.kind is not None else ()
        return memory, snippet, torch.where(full, 1, seen + 2), reading.stages, reading.progress, *kinds

    def _normal(self, key: str, values: Tensor) -> Tensor:
        if key not in self.model.frames.numbers:
            return values
        offset, scale = (getattr(self, f"{part}_{input_name(key)}") for part in ("offset", "scale"))
        normal: Tensor = ((values - offset) / scale).clamp(-LIMIT, LIMIT)
        return normal


def example_of(estimator: TorchEstimator) -> dict[str, Tensor]:
    """Return inputs of the graph by name: an episode's first frame, of zeros."""
    model, schema = estimator.model, estimator.schema
    config = model.config
    memory, begun = torch.zeros(1, config.hidden_dim), torch.zeros(1, config.snippet, config.hidden_dim)
    begin = (memory, begun, torch.zeros(1, dtype=torch.int64))
    channels = {
        input_name(key): torch.from_numpy(np.zeros((1, *schema[key].shape), schema[key].array_dtype))
        for key in schema.observation_keys
    }
    tokens = torch.from_numpy(model.frames.tokenizer(["lift it"]))
    return dict(zip(MONITOR_STATE, begin, strict=True)) | {TOLD: tokens} | channels


def describe(estimator: TorchEstimator) -> dict[str, Any]:
    """Return what a reader of the graph must know beside the monitor's settings."""
    config = estimator.model.config
    tokenizer: Mapping[str, Any] = vars(estimator.model.frames.tokenizer)
    return {
        "stage_names": list(config.stage_names),
        "kinds": list(config.kinds),
        "channels": list(estimator.schema.observation_keys),
        "hidden_dim": config.hidden_dim,
        "snippet": config.snippet,
        "language": dict(tokenizer),
    }
