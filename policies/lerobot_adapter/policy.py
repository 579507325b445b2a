"""A policy of LeRobot's trainer behind the project's contract, normalised by the pipelines that lie beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lerobot.processor import NormalizerProcessorStep
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.language import TASK, instructions_of
from robolearn.normalize import Statistics
from robolearn.policies.chunk_policy import ChunkPolicy
from robolearn.policies.graph import DenoiserGraph
from robolearn.policies.lerobot_adapter.graphs import (
    ChunkGraph,
    DenoisingGraph,
    ObservingGraph,
    action_units,
    as_lerobot,
    keys_read,
)
from robolearn.policies.lerobot_processors import Pipelines
from robolearn.policies.serving import TorchPolicy
from robolearn.protocols import Observation
from robolearn.schema import Schema


class LeRobotPolicy(TorchPolicy):
    """Serves what LeRobot trained, as LeRobot would.

    `normalizer` is not the policy's own: it is that of what is learned on top of it, by the bounds of the action.
    """

    def __init__(self, source: Any, schema: Schema, pipelines: Pipelines) -> None:
        """Serve `source`.

        Args:
            source: one of our policies, or one of `robolearn.policies.lerobot_adapter.sources`.
            schema: the channels that it reads, and the action.
            pipelines: before and after it.
        """
        super().__init__(source, schema, _statistics(pipelines))
        self.pipelines = pipelines

    def prepare(self, observation: Observation) -> dict[str, Tensor]:
        """See `TorchPolicy.prepare`."""
        device = next(self.policy.parameters()).device
        batch: dict[str, Any] = {
            key: as_lerobot(torch.from_numpy(observation[key])) for key in self.schema.observation_keys
        }
        if self.reads_task:
            batch[TASK] = [str(said) for said in instructions_of(observation)]
        prepared = self.pipelines[0](batch)
        return {key: prepared[key].to(device) for key in keys_read(self.schema, self.policy)}

    def physical(self, chunk: Tensor) -> NDArray[np.float32]:
        """See `TorchPolicy.physical`."""
        values: NDArray[np.float32] = self.pipelines[1](chunk).cpu().numpy()
        return values

    def describe(self) -> dict[str, Any]:
        """See `TorchPolicy.describe`; with "units" the graphs take physical units and the sample's are these."""
        described = super().describe() | {"past": getattr(self.policy, "past", 0)}
        if self.policy.sampler is not None:
            described["units"] = action_units(self.pipelines[1], self.schema.action.shape[0])
        return described

    def graphs(self) -> tuple[nn.Module, nn.Module | None]:
        """See `TorchPolicy.graphs`."""
        if self.policy.sampler is None:
            return ChunkGraph(self.policy, self.schema, self.pipelines), None
        denoiser = DenoiserGraph if isinstance(self.policy, ChunkPolicy) else DenoisingGraph
        return ObservingGraph(self.policy, self.schema, self.pipelines), denoiser(self.policy)


def _statistics(pipelines: Pipelines) -> Statistics:
    for step in pipelines[0].steps:
        if isinstance(step, NormalizerProcessorStep):
            statistics: Statistics = step.stats
            return statistics
    raise UserError("the policy's pre-processor has no normaliser: train it with the processors of its type")
