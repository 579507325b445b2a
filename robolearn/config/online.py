"""Online RL on top of a policy."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.config.learning import InteractionConfig
from robolearn.config.option import option


@dataclass(kw_only=True)
class TuningConfig:
    """What every algorithm that improves a policy has."""

    _target_: str = option("algorithm")


@dataclass(kw_only=True)
class ShapingConfig:
    """What online RL adds to the reward."""

    potential: str = option("none; simulator for its own progress; or the folder of a trained progress estimator")
    kind: str = option("potential, which leaves the best policies as they are; gain or raw, which do not, to compare")
    scale: float = option("of the potential, beside a reward of 1 for success", low=0)


@dataclass(kw_only=True)
class OfflineConfig(TuningConfig):
    """What learns from the dataset alone; simulation only judges it."""

    updates: int = option("gradient steps", low=1)
    batch_size: int = option("samples per update", low=2)
    gamma: float = option("discount per control step", low=0, high=1)
    eval_every: int = option("updates between evaluations", low=1)
    eval_episodes: int = option("episodes of an evaluation while learning", low=1)


@dataclass(kw_only=True)
class AlgoConfig(TuningConfig, InteractionConfig):
    """What every online RL algorithm on top of a policy has."""

    num_envs: int = option("worlds stepped together", low=1)


@dataclass(kw_only=True)
class OffPolicyConfig(AlgoConfig):
    """What learns from a replay of its own episodes and of demonstrations."""

    warmup_steps: int = option("control steps of acting before learning", low=0)
    critic_warmup_updates: int = option("updates of the critics before the first of the actor", low=0)
    utd: float = option("updates per control step", low=0)
    batch_size: int = option("samples per update", low=2)
    replay_steps: int = option("control steps kept in the replay", low=1)
    demo_ratio: float = option("share of a batch that comes from demonstrations", low=0, high=1)
    gamma: float = option("discount per control step", low=0, high=1)
    tau: float = option("rate of the target networks", low=0, high=1)
    num_critics: int = option("critics, of which two random ones give the target", low=2)
    layer_norm: bool = option("whether the critics normalise their layers, which bounds what they imagine")
    hidden: int = option("units of a layer", low=1)
    critic_lr: float = option("learning rate of the critics", low=0)


@dataclass(kw_only=True)
class ActorCriticConfig(OffPolicyConfig):
    """What also learns an actor."""

    actor_lr: float = option("learning rate of the actor", low=0)


@dataclass(kw_only=True)
class SoftActorCriticConfig(ActorCriticConfig):
    """What also weighs the actor's entropy."""

    target_entropy: float = option(
        "entropy per component, of what is drawn over its bound, that the temperature aims at"
    )
    initial_temperature: float = option("first weight of the entropy per component", low=0)
    temperature_lr: float = option("learning rate of that weight", low=0)


@dataclass(kw_only=True)
class AveragedConfig:
    """What keeps a running average of its actor's weights."""

    average_tau: float = option(
        "rate, per update, at which the weights that are evaluated and kept follow the actor's; 1: they are these",
        low=0,
        high=1,
    )


@dataclass(kw_only=True)
class ResidualConfig(AveragedConfig, ActorCriticConfig):
    """Residual off-policy RL on a frozen base policy."""

    n_step: int = option("steps of the n-step return", low=1)
    residual_scale: dict[str, float] = option(
        "largest residual as a share of the bounds, by component of the action; 'default' for the rest"
    )
    residual_penalty_start: float = option("weight of the squared residual at the beginning", low=0)
    residual_penalty_end: float = option("weight of the squared residual at the end", low=0)
    residual_penalty_steps: int = option("control steps over which that weight falls", low=1)
    normalise_q: bool = option("whether the actor's loss is in units of the mean |Q|")
    target_noise: float = option("deviation of the noise on the target's action, normalised units", low=0)
    actor_noise: float = option("deviation of the noise on the action that the actor's loss values", low=0)
    actor_every: int = option("critic updates per actor update", low=1)
    exploration_noise: float = option("deviation of the noise on actions, normalised units", low=0)
    noise_spread: float = option(
        "the first world has this times less of that noise, the last one this times more; 1: all the same", low=1
    )
    progressive_steps: int = option(
        "control steps over which the share of steps that use the residual rises from 0 to 1; 0 uses it always", low=0
    )
