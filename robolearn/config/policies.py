"""Policies."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.config.option import option


@dataclass(kw_only=True)
class PolicyConfig:
    """What every policy has: `_target_` is called with this configuration."""

    _target_: str = option("builder of the policy")
    horizon: int = option("actions in a predicted chunk", low=1)
    n_action_steps: int = option("actions executed before re-planning", low=1)
    n_obs_steps: int = option("frames of history read", low=1)


@dataclass(kw_only=True)
class ChunkPolicyConfig(PolicyConfig):
    """What all policies have that sample action chunks, on state and image observations."""

    backbone: str = option("network: mlp, unet or dit")
    hidden_dim: int = option("width of the blocks of mlp and dit", low=1)
    num_blocks: int = option("blocks of mlp and dit", low=1)
    condition_dim: int = option("width of mlp's embedding of observation and time", low=1)
    num_heads: int = option("attention heads of dit", low=1)
    down_dims: list[int] = option("channels of unet, one for each of its resolutions")
    kernel_size: int = option("kernel of unet's convolutions, odd", low=1)
    n_groups: int = option("groups of unet's normalisation", low=1)
    diffusion_step_embed_dim: int = option("width of unet's embedding of time", low=2)
    use_film_scale_modulation: bool = option("whether unet's FiLM scales, besides shifting")
    vision: str = option("network for pictures: cnn, vit, resnet18 or resnet34")
    vision_dim: int = option("width of an encoded picture", low=1)
    crop_ratio: float = option("side of the crop that is encoded, as a share of the picture's", low=0, high=1)
    horizons: list[int] = option("lengths of a mixture of horizons, rising to horizon; [] for one. Needs dit")
    individual_weight: float = option("weight of the horizons' own losses", low=0)
    balance_weight: float = option("weight of the loss that keeps the gate from preferring few horizons", low=0)
    dynamic_horizon: bool = option("execute as many actions as the horizons agree on, not n_action_steps")
    consensus_ratio: float = option("disagreement that ends execution, relative to that of the first actions", low=0)
    consensus_steps: int = option("these first actions, which are always executed", low=1)
    consensus_horizons: int = option("horizons that must reach an action for it to be executed", low=1)
    num_inference_steps: int = option("steps from noise to actions", low=1)


@dataclass(kw_only=True)
class FlowConfig(ChunkPolicyConfig):
    """Flow-matching policy."""

    variant: str = option("rectified, or shortcut, which samples well in one step")
    sampler: str = option("of rectified flows: euler or heun")
    time_distribution: str = option("of the flow's time in training: beta or logit_normal")
    time_alpha: float = option("exponent of the beta distribution", low=0)
    shortcut_share: float = option("share of the samples that learn self-consistency of shortcuts", low=0, high=1)
    shortcut_steps: int = option("steps of the finest grid of shortcuts, a power of two", low=2)


@dataclass(kw_only=True)
class VLAConfig(FlowConfig):
    """Flow-matching policy that is told what to do in words."""

    max_words: int = option("words of an instruction that are read", low=1)
    max_pieces: int = option("ids of a word: its own, then those of its character n-grams", low=1)
    buckets: int = option("number of ids that words and n-grams are hashed to", low=1)
    ngram: int = option("characters of an n-gram", low=1)
    language_dim: int = option("width of the sentence encoder", low=1)
    language_blocks: int = option("its transformer blocks", low=1)
    language_heads: int = option("its attention heads", low=1)
    state_dim: int = option("width of the features of the state that the instruction moves", low=1)
    word_dropout: float = option("share of the words left out in training", low=0, high=0.9)
    piece_dropout: float = option("share of the ids left out in training", low=0, high=0.9)


@dataclass(kw_only=True)
class DiffusionConfig(ChunkPolicyConfig):
    """Diffusion policy: DDPM training, DDIM sampling."""

    num_train_timesteps: int = option("steps of the noise schedule", low=1)
    beta_schedule: str = option("squaredcos_cap_v2, linear or scaled_linear")
    beta_start: float = option("first beta of the linear schedules", low=0)
    beta_end: float = option("last beta of the linear schedules", low=0)
    prediction_type: str = option("what the network predicts: epsilon (the noise) or sample (the clean chunk)")
    clip_sample: bool = option("whether the sampler cuts each estimate of the clean chunk")
    clip_sample_range: float = option("where, in units of the action's half range", low=0)


@dataclass(kw_only=True)
class VlaFinetuneConfig(PolicyConfig):
    """One of LeRobot's vision-language-action policies, which goes on learning."""

    pretrained: str = option("the policy: a pretrained_model folder of LeRobot, or a name on the hub")
    vlm: str | None = option("folder of its language model's tokeniser and config.json; null finds or downloads it")
    train_expert_only: bool = option("freeze the vision-language model; only the action expert learns")
    freeze_vision_encoder: bool = option("freeze the vision encoder, which train_expert_only does too")
    lora_rank: int | None = option("rank of adapters in the action expert, all else frozen; null for none", low=1)
    lora_alpha: int = option("the adapters are added times lora_alpha / lora_rank", low=1)
