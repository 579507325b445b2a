"""Learning: supervised, online, and of teachers."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.config.option import option


@dataclass(kw_only=True)
class FittingConfig:
    """Supervised learning of whatever network."""

    steps: int = option("gradient steps", low=1)
    batch_size: int = option("samples per step", low=1)
    learning_rate: float = option("peak learning rate", low=0)
    warmup: int = option("steps of linear warm-up", low=0)
    weight_decay: float = option("AdamW's weight decay", low=0)
    ema_decay: float = option("decay of the averaged weights", low=0, high=1)
    save_every: int = option("steps between checkpoints", low=1)
    device: str = option("auto (a GPU where there is one), cpu, cuda, cuda:1, mps")
    threads: int = option("threads of a computation on the CPU", low=1)
    precision: str = option("fp32, or bf16 or fp16 for mixed precision")
    compile: bool = option("compile the policy with torch.compile")
    accumulate: int = option("parts into which a batch is cut to save memory; the result is the same", low=1)
    tensorboard: bool | None = option("write logs to `tensorboard` in `out`; null where the package is installed")
    wandb: str | None = option("project of Weights & Biases to log to; null does not")


@dataclass(kw_only=True)
class TrainingConfig(FittingConfig):
    """Supervised learning of a policy."""

    weights: str | None = option("progress file of the dataset, by which samples are weighted; null: all the same")
    weighting: str = option("weights made of it: rabc, or rising: 1 where progress rises over a chunk, 0 elsewhere")
    kappa: float = option("gain in progress over a chunk above which a sample counts fully", low=0)
    eval_every: int | None = option("steps between evaluations in simulation; null never", low=1)
    eval_episodes: int = option("episodes of an evaluation in simulation", low=1)


@dataclass(kw_only=True)
class InteractionConfig:
    """How long to learn in simulation; steps are control steps, summed over the worlds."""

    total_steps: int = option("control steps of interaction", low=1)
    eval_every: int = option("control steps between evaluations", low=1)
    eval_episodes: int = option("episodes of an evaluation while learning", low=1)
    stop_at: float | None = option("success rate in two evaluations that ends learning early; null never", low=0)


@dataclass(kw_only=True)
class PPOConfig(InteractionConfig):
    """Proximal policy optimisation of a teacher in simulation."""

    num_envs: int = option("worlds stepped together", low=1)
    rollout_steps: int = option("decisions of each world between updates", low=1)
    action_repeat: int = option("control steps for which a decision holds", low=1)
    epochs: int = option("passes over a rollout", low=1)
    minibatches: int = option("minibatches of a pass", low=1)
    gamma: float = option("discount per decision", low=0, high=1)
    gae_lambda: float = option("lambda of the generalised advantage estimate", low=0, high=1)
    clip: float = option("how far the ratio of densities may leave 1", low=0)
    learning_rate: float = option("first learning rate; it then follows target_kl", low=0)
    target_kl: float = option("divergence that a minibatch's step aims at", low=0)
    value_weight: float = option("weight of the critic's loss", low=0)
    entropy_weight: float = option("weight of the entropy", low=0)
    max_grad_norm: float = option("largest norm of a gradient", low=0)
    hidden: int = option("units of a layer", low=1)
    initial_std: float = option("first deviation of actions, as a share of their bounds", low=0)
    final_std: float = option("largest deviation of actions at the end", low=0)
    std_decay: float = option("last share of the training, over which it falls to the final one", low=0.01, high=1)
    reward: str = option("stages: 1/K for each of K stages; dense: what progress gains; sparse: success alone")
    imitate: str | None = option("checkpoint of a policy towards whose actions the teacher is drawn; null for none")
    imitation_weight: float = option("first weight of the distance from its actions", low=0)
    imitation_steps: int = option("control steps over which that weight falls to 0", low=1)
