"""Pre- and post-processing of the flow policy for LeRobot's own trainer and rollout."""

from __future__ import annotations

from typing import Any

from lerobot.processor import PolicyAction, PolicyProcessorPipeline, make_default_pre_post_processors
from torch import Tensor

from robolearn.policies.flow.configuration_flow import FlowConfig


# LeRobot finds this function by the policy's registered name.
def make_robolearn_flow_pre_post_processors(
    config: FlowConfig, dataset_stats: dict[str, dict[str, Tensor]] | None = None
) -> tuple[
    PolicyProcessorPipeline[dict[str, Any], dict[str, Any]], PolicyProcessorPipeline[PolicyAction, PolicyAction]
]:
    """Return the pipelines that normalise observations and undo the action's normalisation.

    Give as "min" and "max" of the action its bounds to match `robolearn.normalize.Normalizer`.
    """
    return make_default_pre_post_processors(config, dataset_stats)
