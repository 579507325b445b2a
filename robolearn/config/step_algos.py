"""Online RL that decides at every control step, beside the residual."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.config.online import ActorCriticConfig, OfflineConfig, SoftActorCriticConfig
from robolearn.config.option import option


@dataclass(kw_only=True)
class RLPDConfig(SoftActorCriticConfig):
    """Soft actor-critic from scratch, with demonstrations in every batch and no base policy."""

    n_step: int = option("steps of the n-step return", low=1)
    actor_every: int = option("critic updates per actor update", low=1)
    backup_entropy: bool = option("whether the target counts the entropy; values are then not kept within bounds")


@dataclass(kw_only=True)
class IBRLConfig(ActorCriticConfig):
    """An actor from scratch beside a frozen base policy: of the two actions, the better one is taken."""

    n_step: int = option("steps of the n-step return", low=1)
    actor_every: int = option("critic updates per actor update", low=1)
    target_noise: float = option("deviation of the noise on the target's action, normalised units", low=0)
    exploration_noise: float = option("deviation of the noise on the actor's actions, normalised units", low=0)


@dataclass(kw_only=True)
class APOConfig(OfflineConfig):
    """Preference from interventions: what people did becomes likelier than what they stopped."""

    learning_rate: float = option("of the policy's weights", low=0)
    beta: float = option("scale of the difference between losses that the implicit reward is", low=0)
    stopped_seconds: float = option("time before an intervention that counts as undesirable", low=0)
    desirable_weight: float = option("weight of desirable frames", low=0)
    undesirable_weight: float = option("weight of undesirable frames", low=0)
    imitation_weight: float = option("weight of the policy's own loss on desirable frames", low=0)
