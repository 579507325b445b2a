"""The parts of LeRobot's policies that are exported, with their processors inside: physical units in.

The shapes are those of `robolearn.policies.graph`.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.language import TOKENS
from robolearn.policies.lerobot_adapter.sources import ActChunks, DiffusionChunks
from robolearn.policies.lerobot_processors import Pipelines, TokenizeStep
from robolearn.schema import Schema


def as_lerobot(frames: Tensor) -> Tensor:
    """Return pictures as LeRobot has them, floats [..., 3, height, width] in [0, 1]; all else as it is."""
    return frames.movedim(-1, -3).float() / 255 if frames.dtype == torch.uint8 else frames


def keys_read(schema: Schema, source: Any) -> tuple[str, ...]:
    """Return the entries of a batch that a policy reads: channels and, if it reads an instruction, its ids."""
    return (*schema.observation_keys, *((TOKENS,) if getattr(source, "reads_task", False) else ()))


class Prepared(nn.Module):
    """Names the channels and runs the pipeline before the policy."""

    def __init__(self, keys: tuple[str, ...], pipeline: Any) -> None:
        """Copy the pipeline, which remembers what it has seen; ids of an instruction are there already."""
        super().__init__()
        self.keys, self._pipeline = keys, deepcopy(pipeline)
        self._pipeline.steps = [step for step in self._pipeline.steps if not isinstance(step, TokenizeStep)]

    def forward(self, *observations: Tensor) -> dict[str, Tensor]:
        """Return the channels as the policy reads them."""
        named = {key: as_lerobot(frames) for key, frames in zip(self.keys, observations, strict=True)}
        prepared = self._pipeline(named)
        return {key: prepared[key] for key in self.keys}


class ObservingGraph(nn.Module):
    """(observation_1, ..., observation_k) -> observed; once per chunk."""

    def __init__(self, source: Any, schema: Schema, pipelines: Pipelines) -> None:
        """Wrap what has an `observe`; its weights are shared."""
        super().__init__()
        self.source, self.prepared = source, Prepared(keys_read(schema, source), pipelines[0])
        self.training = source.training

    def forward(self, *observations: Tensor) -> Tensor:
        """Return [B, width] from channels [B, n_obs_steps, ...] in the schema's order, then ids where they are read."""
        observed: Tensor = self.source.observe(self.prepared(*observations))
        return observed


class DenoisingGraph(nn.Module):
    """(observed, sample, time) -> prediction; once per step of the sampler."""

    def __init__(self, source: DiffusionChunks) -> None:
        """Wrap the source; its weights are shared."""
        super().__init__()
        self.source = source
        self.training = source.training

    def forward(self, observed: Tensor, sample: Tensor, time: Tensor) -> Tensor:
        """Return the prediction [B, horizon, action_dim]."""
        return self.source.denoise(observed, sample, time)


class ChunkGraph(nn.Module):
    """(observation_1, ..., observation_k) -> chunk in physical units; all of a policy without a sampler."""

    def __init__(self, source: ActChunks, schema: Schema, pipelines: Pipelines) -> None:
        """Wrap the source; its weights are shared."""
        super().__init__()
        self.source, self.prepared = source, Prepared(schema.observation_keys, pipelines[0])
        self._after = deepcopy(pipelines[1])
        self.training = source.training

    def forward(self, *observations: Tensor) -> Tensor:
        """Return [B, horizon, action_dim] from channels [B, 1, ...] in the schema's order."""
        chunk: Tensor = self._after(self.source.predict_action_chunk(self.prepared(*observations)))
        return chunk


def action_units(pipeline: Any, action_dim: int) -> dict[str, list[float]]:
    """Return "offset" and "scale" [action_dim], with which the pipeline after a policy is offset + scale * chunk.

    Raises:
        UserError: it is something else.
    """
    probe = deepcopy(pipeline)
    zero, half, one = (probe(torch.full((1, action_dim), value, dtype=torch.float64))[0] for value in (0.0, 0.5, 1.0))
    if not torch.allclose(half, (zero + one) / 2):
        raise UserError("the policy's post-processor does more than to undo a normalisation: it cannot be exported")
    return {"offset": zero.tolist(), "scale": (one - zero).tolist()}
