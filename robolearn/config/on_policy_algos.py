"""On-policy RL on top of a policy."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.config.online import AlgoConfig
from robolearn.config.option import option


@dataclass(kw_only=True)
class OnPolicyConfig(AlgoConfig):
    """What learns from its newest episodes alone, by proximal policy optimisation."""

    rollout_steps: int = option("control steps of each world between updates", low=1)
    epochs: int = option("passes over a rollout", low=1)
    batch_size: int = option("decisions per gradient step", low=1)
    gamma: float = option("discount per control step", low=0, high=1)
    gae_lambda: float = option("lambda of the generalised advantage estimate, per control step", low=0, high=1)
    bootstrap_timeouts: bool = option(
        "whether an episode that ran out of time is worth what the critic expects of going on; else nothing, for "
        "success in time is what counts"
    )
    clip: float = option("how far the ratio of likelihoods may leave 1", low=0)
    target_kl: float = option("divergence from the rollout's policy that ends its passes", low=0)
    critic_warmup_rollouts: int = option("rollouts from which the critic learns alone", low=0)
    hidden: int = option("units of a layer of the critic, and of networks that come with the algorithm", low=1)
    actor_lr: float = option("learning rate of what acts", low=0)
    critic_lr: float = option("learning rate of the critic", low=0)


@dataclass(kw_only=True)
class ReinFlowConfig(OnPolicyConfig):
    """Flow policy fine-tuned as a Markov process with learned noise."""

    denoising_steps: int | None = option("steps from noise to actions; null keeps the policy's number", low=1)
    noise_low: float = option("smallest deviation of a step's noise, normalised units", low=1e-6)
    noise_high: float = option("largest one at the beginning", low=1e-6)
    noise_decay: float = option("largest one at the end, as a share of that at the beginning", low=0, high=1)
    entropy_weight: float = option("weight of the mean log-deviation of the noise", low=0)


@dataclass(kw_only=True)
class DPPOConfig(OnPolicyConfig):
    """Diffusion policy fine-tuned by PPO over denoising steps."""

    tuned_steps: int = option("last denoising steps, which learn", low=1)
    denoising_gamma: float = option("discount of the advantage per denoising step before the last", low=0, high=1)
    clip_first: float = option("clip of the first step that learns; it grows to `clip` at the last one", low=0)
    eta: float = option("noise of a step as a multiple of DDPM's", low=0, high=1)
    min_std: float = option("smallest deviation of a step's noise in training, normalised units", low=1e-6)


@dataclass(kw_only=True)
class PPOResidualConfig(OnPolicyConfig):
    """Gaussian residual per control step on a frozen base policy."""

    residual_scale: dict[str, float] = option(
        "largest residual as a share of the bounds, by component of the action; 'default' for the rest"
    )
    initial_std: float = option("first deviation of the residual, as a share of its scale", low=1e-6)
    entropy_weight: float = option("weight of the entropy", low=0)


@dataclass(kw_only=True)
class AWMConfig(OnPolicyConfig):
    """Flow or diffusion policy fine-tuned by advantage-weighted matching."""

    draws: int = option("times and noises at which a chunk is matched", low=1)
    kl_weight: float = option("weight of the squared distance from the base policy's predictions", low=0)
    exploration_noise: float = option("deviation of the noise on a chunk, normalised units", low=0)
