"""What all reward models have in common: configuration, reading of frames, and what they say of a frame."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.configs.rewards import RewardModelConfig
from lerobot.optim import AdamWConfig
from lerobot.rewards.pretrained import PreTrainedRewardModel
from torch import Tensor, nn

from robolearn.errors import UserError, nearest
from robolearn.language import TOKENS, Tokenizer
from robolearn.networks.encoders import VISION, PictureEncoder, require_large_enough
from robolearn.networks.film import Film
from robolearn.networks.language import SentenceEncoder, without_padding
from robolearn.networks.relations import Relations, pose_slots
from robolearn.normalize import Normalizer
from robolearn.schema import Schema

State = Any
BLUR = 0.02  # progress over which one stage gives way to the next where only progress is known


class Reading(NamedTuple):
    """What a model says of frames [...]; of each, from what was seen up to it.

    Attributes:
        stages: [..., K + 1] probability of each stage, and of all being done.
        progress: [...] of the whole task, in [0, 1].
    """

    stages: Tensor
    progress: Tensor

    @property
    def success(self) -> Tensor:
        """Probability [...] that the task is done."""
        return self.stages[..., -1]


@dataclass
class RewardConfig(RewardModelConfig):
    """A network that reads films of a task.

    Attributes:
        stage_names: the task's stages, in order.
        shares: prior share of each stage in the progress; they sum to 1.
        hidden_dim: width of the network.
        vision: network for pictures: "cnn", "vit", "resnet18" or "resnet34".
        vision_dim: width of an encoded picture.
        crop_ratio: side of the crop that is encoded, as a share of the picture's.
        language_dim: width of the encoded instruction.
        poses: where poses begin in channels; of them it is also read where things are from each other's point of view.
        temperature: by which the logarithms of probabilities are divided, above 1 where the network is too sure of
            itself (Guo et al. 2017); found on validation data.
        done_at: probability of success from which the task is called done; likewise.
    """

    stage_names: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    hidden_dim: int = 256
    vision: str = "cnn"
    vision_dim: int = 64
    crop_ratio: float = 0.9
    language_dim: int = 32
    poses: dict[str, list[int]] = field(default_factory=dict)
    temperature: float = 1.0
    done_at: float = 0.5

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: a value makes no sense; the message says which would.
        """
        super().__post_init__()
        if self.vision not in VISION:
            raise UserError(f"unknown vision '{self.vision}'{nearest(self.vision, VISION)}")
        for name in ("hidden_dim", "vision_dim", "language_dim"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: it must be at least 1")

    @classmethod
    def from_schema(cls, schema: Schema, *, relations: bool = True, **settings: Any) -> Self:
        """Return the configuration of a model that reads the schema's observations; `relations`: see `poses`.

        Raises:
            UserError: an observation is neither a vector nor an RGB picture, or there is none; there is no stage.
        """
        inputs = {}
        for key in schema.observation_keys:
            kind = FeatureType.VISUAL if schema[key].is_picture else FeatureType.STATE
            inputs[key] = PolicyFeature(kind, tuple(schema[key].shape))
        poses = pose_slots(schema) if relations else {}
        if sum(map(len, poses.values())) < 2:
            poses = {}
        config = cls(input_features=inputs, device="cpu", poses=poses, **settings)
        config.validate_features()
        return config

    @property
    def num_stages(self) -> int:
        """Number of stages."""
        return len(self.stage_names)

    @property
    def observation_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one frame of each channel: (dim,), or (height, width, 3) for pictures."""
        return {key: tuple(feature.shape) for key, feature in self.input_features.items()}

    def validate_features(self) -> None:
        """Check that there are stages and channels that can be read.

        Raises:
            UserError: naming the channel.
        """
        if not self.stage_names or len(self.shares) != len(self.stage_names):
            raise UserError(f"{len(self.stage_names)} stages with {len(self.shares)} shares: give one share for each")
        if not self.input_features:
            raise UserError("a reward model needs at least one observation channel")
        for key, shape in self.observation_shapes.items():
            if len(shape) == 3 and shape[2] == 3:
                require_large_enough((shape[0], shape[1]), vision=self.vision, crop_ratio=self.crop_ratio, key=key)
            elif len(shape) != 1:
                raise UserError(f"channel '{key}' has shape {shape}: reward models read vectors and RGB pictures")

    def get_optimizer_preset(self) -> AdamWConfig:
        """Return the optimiser for LeRobot's trainer."""
        return AdamWConfig(lr=1e-3, weight_decay=1e-4)


class FrameEncoder(nn.Module):
    """Encodes every frame of a film on its own; the instruction moves the features (FiLM, Perez et al. 2018)."""

    def __init__(self, config: RewardConfig) -> None:
        """Build it for the channels of a configuration."""
        super().__init__()
        shapes, dim = config.observation_shapes, config.hidden_dim
        self.tokenizer = Tokenizer()
        self.numbers = tuple(key for key, shape in shapes.items() if len(shape) == 1)
        self.pictures = tuple(key for key, shape in shapes.items() if len(shape) == 3)
        self.cameras = nn.ModuleList(
            PictureEncoder(
                (shapes[key][0], shapes[key][1]), config.vision, dim=config.vision_dim, crop_ratio=config.crop_ratio
            )
            for key in self.pictures
        )
        self.sentence = SentenceEncoder(
            buckets=self.tokenizer.buckets,
            max_words=self.tokenizer.max_words,
            dim=config.language_dim,
            num_blocks=1,
            num_heads=1,
        )
        widths = {key: shapes[key][0] for key in config.poses}
        self.relations = Relations(config.poses, widths) if config.poses else None
        width = sum(shapes[key][0] for key in self.numbers) + config.vision_dim * len(self.pictures)
        width += self.relations.width if self.relations is not None else 0
        self.inputs = nn.Sequential(nn.Linear(width, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.film = Film(dim, config.language_dim)
        self.outputs = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim))

    def set_units(self, normalizer: Normalizer) -> None:
        """Take from the normalisation what normalised poses stand for; once, before training."""
        if self.relations is not None:
            for key in self.relations.slots:
                self.relations.set_units(key, offset=normalizer[key].offset, scale=normalizer[key].scale)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return features [B, T, hidden_dim].

        Args:
            batch: normalised numbers [B, T, n] and uint8 pictures [B, T, height, width, 3] by channel, and the ids of
                the instruction [B, words, pieces].
        """
        return self.encode(batch, self.sentence(without_padding(batch[TOKENS])))

    def encode(self, batch: Mapping[str, Tensor], told: Tensor) -> Tensor:
        """Return features [B, T, hidden_dim] for instructions that are encoded already [B, language_dim]."""
        parts = [batch[key] for key in self.numbers]
        parts += [camera(batch[key]) for key, camera in zip(self.pictures, self.cameras, strict=True)]
        parts += [self.relations(batch)] if self.relations is not None else []
        h = self.inputs(torch.cat(parts, dim=2))
        features: Tensor = h + self.outputs(self.film(h, told))
        return features


class RewardModel(PreTrainedRewardModel):
    """Base of the models: LeRobot's face (`forward`, `compute_reward`) on top of `episode` and `step`.

    `step` is what runs on a robot: it takes one frame's features at a time and needs memory that does not grow.
    `episode` says the same of all frames at once.

    Attributes:
        reads: what training clips hold beside observations and labels; see `robolearn.commands.reward_data.footage`.
        consecutive: whether the frames of a clip must follow each other as they were recorded.
        needs_success: whether there is nothing to learn where no episode ended in success.
    """

    config_class = RewardConfig
    name = "robolearn_reward"
    reads: ClassVar[tuple[str, ...]] = ()
    consecutive: ClassVar[bool] = False
    needs_success: ClassVar[bool] = False

    def __init__(self, config: RewardConfig, **_: Any) -> None:
        """Build the model; LeRobot passes further arguments that it does not need."""
        super().__init__(config)
        config.validate_features()
        self.config: RewardConfig = config
        self.frames = FrameEncoder(config)
        before = torch.tensor([0.0, *config.shares], dtype=torch.float64).cumsum(0)
        before[-1] = 1.0
        self.register_buffer("before", before.float(), persistent=False)
        self.register_buffer("shares", torch.tensor([*config.shares, 0.0]), persistent=False)

    @property
    @abstractmethod
    def clip(self) -> tuple[int, int]:
        """Frames of a training clip, and frames of the film between two of them."""

    @abstractmethod
    def start(self) -> State:
        """Return the state before an episode's first frame."""

    @abstractmethod
    def step(self, state: State, features: Tensor) -> tuple[State, Reading]:
        """Take the features [hidden_dim] of the next frame; return the state, and the reading of that frame."""

    @abstractmethod
    def episode(self, features: Tensor) -> Reading:
        """Return the readings of all frames of an episode from their features [T, hidden_dim]."""

    def finish(self, starts: Mapping[str, Tensor], goals: Mapping[str, Tensor]) -> None:
        """Take from training data what run time needs beside the weights; called once, after training.

        Args:
            starts: first frames of episodes, as `FrameEncoder.forward` takes them, of one frame each.
            goals: last frames of successes; there may be none.
        """

    def compute_reward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the progress [B] at the last frame of films; see `FrameEncoder.forward` for `batch`."""
        features = self.frames(batch)
        return torch.stack([self.episode(film).progress[-1] for film in features])

    def get_optim_params(self) -> list[nn.Parameter]:
        """Return the parameters to optimise."""
        return list(self.parameters())

    def whole(self, stages: Tensor, tau: Tensor) -> Tensor:
        """Return the progress [...] of the whole task: that within the most likely stage, and all stages before it.

        The expectation over the stages would lie, where two are in question, between both and right in neither.

        Args:
            stages: probabilities [..., K + 1].
            tau: progress within each stage [..., K], were it the current one.
        """
        tau = torch.cat((tau, torch.zeros_like(tau[..., :1])), dim=-1)
        now = stages.argmax(-1, keepdim=True)
        progress: Tensor = (self.before + self.shares * tau).gather(-1, now)[..., 0]
        return progress.clamp(0.0, 1.0)

    def by_progress(self, progress: Tensor, done: Tensor) -> Tensor:
        """Return probabilities of the stages [..., K + 1] for models that know progress and success alone.

        A stage is reached with probability sigmoid((progress - P_k) / `BLUR`), P being the cumulative shares: the
        cumulative link model (McCullagh 1980).

        Args:
            progress: of the whole task [...].
            done: probability that it is done [...].
        """
        reached = torch.sigmoid((progress[..., None] - self.before[1:-1]) / BLUR)
        reached = torch.cat((torch.ones_like(progress[..., None]), reached), dim=-1)
        left = torch.cat((reached[..., 1:], torch.zeros_like(progress[..., None])), dim=-1)
        return torch.cat(((reached - left) * (1 - done[..., None]), done[..., None]), dim=-1)

    def calibrated(self, stages: Tensor) -> Tensor:
        """Return calibrated probabilities from those of the network [..., K + 1]."""
        return torch.softmax(stages.clamp(min=1e-12).log() / self.config.temperature, dim=-1)
