"""Pre- and post-processing of the vision-language-action policy for LeRobot's own commands."""

from __future__ import annotations

from torch import Tensor

from robolearn.policies.lerobot_processors import Pipelines, make_pipelines
from robolearn.policies.vla.configuration_vla import VLAConfig


# LeRobot finds this function by the policy's registered name.
def make_robolearn_vla_pre_post_processors(
    config: VLAConfig, dataset_stats: dict[str, dict[str, Tensor]] | None = None
) -> Pipelines:
    """See `robolearn.policies.lerobot_processors.make_pipelines`."""
    return make_pipelines(config, dataset_stats)
