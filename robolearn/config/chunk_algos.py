"""Online and offline RL that decides once per chunk of a frozen base policy."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.config.online import (
    ActorCriticConfig,
    AveragedConfig,
    OfflineConfig,
    OffPolicyConfig,
    SoftActorCriticConfig,
)
from robolearn.config.option import option


@dataclass(kw_only=True)
class ChunkAlgoConfig(OffPolicyConfig):
    """What learns values of chunks."""

    step_cost: bool = option(
        "reward of -1 per step until success instead of 1 at success, both scaled to values of size 1: what was not "
        "tried then looks good"
    )


@dataclass(kw_only=True)
class NoiseSteeringConfig(AveragedConfig, SoftActorCriticConfig, ChunkAlgoConfig):
    """Off-policy RL of the noise that a frozen flow or diffusion policy starts from."""

    noise_bound: float = option("largest magnitude of a component of the noise", low=0.01)
    greedy: bool = option("act on the middle of the learned noise once trained; else on a draw of it")
    distilled_plans: int = option("chunks of the base's own noise per frame that values of noise learn from", low=1)


@dataclass(kw_only=True)
class ChunkedTDConfig(ChunkAlgoConfig):
    """Q-chunking: the best of several chunks of a frozen base acts."""

    candidates: int = option("chunks of the base from which the critic chooses when acting", low=1)
    target_candidates: int = option("chunks per frame from which it chooses in the target", low=1)
    temperature: float = option("of the softmax draw between candidates that explores; 0 takes the best", low=0)


@dataclass(kw_only=True)
class FQLConfig(ActorCriticConfig, ChunkAlgoConfig):
    """Flow Q-learning: a policy of one step, distilled from the base and improved by the critic."""

    distillation_weight: float = option("weight of staying with the base, beside a Q of mean magnitude 1", low=0)
    distilled_plans: int = option("chunks of the base per frame that the policy is distilled from", low=1)


@dataclass(kw_only=True)
class ValueGuidedConfig(OfflineConfig):
    """A critic of the dataset's episodes, good and bad, that chooses between chunks of the base when it acts."""

    tau: float = option("rate of the target network", low=0, high=1)
    expectile: float = option("expectile of the values of actions in the data that a state's value is", low=0, high=1)
    num_critics: int = option("critics, of which two random ones give the target", low=2)
    layer_norm: bool = option("whether the critics normalise their layers, which bounds what they imagine")
    hidden: int = option("units of a layer", low=1)
    learning_rate: float = option("of the critics", low=0)
    candidates: int = option("chunks of the base from which the critic chooses when acting", low=1)
    temperature: float = option("of the softmax draw between candidates; 0 takes the best", low=0)
