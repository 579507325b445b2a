"""Reward models."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.config.option import option


@dataclass(kw_only=True)
class RewardConfig:
    """What every reward model has: `_target_` is called with this configuration."""

    _target_: str = option("builder of the reward model")
    hidden_dim: int = option("width of the network", low=1)
    vision: str = option("network for pictures: cnn, vit, resnet18 or resnet34")
    vision_dim: int = option("width of an encoded picture", low=1)
    crop_ratio: float = option("side of the crop that is encoded, as a share of the picture's", low=0, high=1)
    language_dim: int = option("width of the encoded instruction", low=1)
    relations: bool = option("of poses, read too where things are from each other's point of view")


@dataclass(kw_only=True)
class SARMConfig(RewardConfig):
    """Stage-aware reward model over a causal window."""

    window: int = option("frames that are read, the present one included", low=1)
    gap: int = option("control steps between them", low=1)
    num_blocks: int = option("transformer blocks", low=0)
    num_heads: int = option("attention heads", low=1)
    true_stage: float = option("share of the samples that learn progress under the true stage", low=0, high=1)


@dataclass(kw_only=True)
class RecurrentConfig(RewardConfig):
    """Progress by a recurrent state over snippets."""

    snippet: int = option("frames of a snippet", low=1)
    snippets: int = option("snippets of a training clip", low=1)
    kinds: list[str] = option("kinds of failure that it tells apart; [auto]: all in the dataset; []: it tells none")


@dataclass(kw_only=True)
class PairwiseConfig(RewardConfig):
    """Signed hops between two frames."""

    clip_frames: int = option("frames of a training clip, of which all pairs are learned", low=2)
    gap: int = option("control steps between them, and over which the incremental estimate hops", low=1)
    num_goals: int = option("frames kept as references of a task that is done", low=1)
    sharpness: float = option("how fast the consistency weight falls where estimates disagree", low=0)


@dataclass(kw_only=True)
class ValueConfig(RewardConfig):
    """Value of an offline critic of sparse success; films are not rewound, paused or warped for it."""

    clip_frames: int = option("consecutive frames of a training clip", low=2)
    n_step: int = option("control steps after which the target critics take over", low=1)
    gamma: float = option("discount of a control step; at best progress is gamma^(steps to success)", low=0, high=1)
    num_atoms: int = option("places in [0, 1] over which a value is distributed", low=2)
    polyak: float = option("share of the weights that the target networks take over at every step", low=0, high=1)
    alpha: float = option("weight of the value against imitation in the actor's loss", low=0)
    noise: float = option("deviation of the noise on the target actor's actions, which lie in [-1, 1]", low=0)
    noise_clip: float = option("at which that noise is cut", low=0)


@dataclass(kw_only=True)
class PreferenceConfig(RewardConfig):
    """A potential learned from ranked pairs of frames."""

    clip_frames: int = option("frames of a training clip", low=2)
    gap: int = option("control steps between them", low=1)
    margin: int = option("control steps by which the later of two frames must be behind to be preferred", low=1)


@dataclass(kw_only=True)
class AugmentConfig:
    """How often a training film is tampered with; labels are those of the frames that it shows."""

    rewind: float = option("share of films that end with frames in reversed order", low=0, high=1)
    pause: float = option("share of films that stand still for a while", low=0, high=1)
    warp: float = option("share of films at another speed, from half to twice", low=0, high=1)
    still: float = option("share of films that show one frame all the time", low=0, high=1)
    wrong: float = option("share of films with another instruction, for which progress is zero", low=0, high=1)
    num_wrong: int = option("such instructions", low=0)
