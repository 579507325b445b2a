"""What the baselines of `robolearn bench rewards` share: features, words, training, calibration.

They see what ours see: normalised numbers of each frame, where bodies are from each other, and an instruction. There
are no weights of encoders at hand, so words are fixed random vectors, the same for all baselines, and features of
pictures are those that our `sarm` has learned. Our trainer
trains them on as many frames as ours see, and they are judged like ours: temperature scaling of ours has its
counterpart in Platt's scaling of theirs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.bench._platt import logit, platt
from robolearn.bench._reward_judge import Estimate, Read
from robolearn.commands.reward_data import footage, labelled_episodes, labels_of, read_schema
from robolearn.language import PADDING, Tokenizer
from robolearn.normalize import Normalizer
from robolearn.rewards.calibration import done_threshold

if TYPE_CHECKING:
    from robolearn.config import TrainRewardConfig
    from robolearn.data.dataset import EpisodeDataset
    from robolearn.rewards.clips import Footage
    from robolearn.rewards.model import FrameEncoder
    from robolearn.schema import Schema

Channels = Mapping[str, NDArray[np.float32]]
STATE, SCENE = "observation.state", "observation.environment_state"
TEXT_DIM = 64
AT_A_TIME = 256  # pictures


@dataclass(frozen=True)
class Setup:
    """How a baseline is built and trained; what is not said here is as in configs/train_reward.yaml.

    Attributes:
        module: of this package, which has its `make`.
        network: sizes of its network.
        learning_rate: of AdamW; that of our models.
        weight_decay: of AdamW.
        grad_clip: largest norm of the gradient.
        batch_size: clips of a batch.
    """

    module: str
    network: Mapping[str, int]
    learning_rate: float
    weight_decay: float
    grad_clip: float
    batch_size: int


# 0.9 and 0.4 million weights, our `sarm` has 0.5; as many frames a step: 6 x 128 of ours, 13 x 64 and 16 x 48 of these.
# LeRobot's network takes a token for each stream of a frame, twice, so that a step of it costs many times ours. Its gap
# is 1 s of tasks that take minutes; ours take about 6 s, and 3 frames are 0.15 s.
_SARM = {"hidden_dim": 128, "num_layers": 2, "num_heads": 4, "frame_gap": 3}
THEIRS = {
    "lerobot_sarm": Setup("_lerobot_sarm", _SARM, 1e-3, 1e-3, 10.0, 64),
    "lerobot_sarm_mended": Setup("_mended_sarm", _SARM, 1e-3, 1e-3, 10.0, 64),
    "rewind": Setup("_rewind", {"hidden_dim": 128, "num_layers": 2, "num_heads": 4}, 1e-3, 1e-4, 1.0, 48),
}


class Material(NamedTuple):
    """What a baseline learns from.

    Attributes:
        data: the episodes.
        films: the same, normalised and with labels, as `features_of` makes them.
        words: features [instructions, TEXT_DIM] of the instructions of `films`.
        shares: of the stages in the progress.
        seed: of batches.
    """

    data: EpisodeDataset
    films: Footage
    words: NDArray[np.float32]
    shares: NDArray[np.float64]
    seed: int

    @property
    def episode(self) -> NDArray[np.int64]:
        """Episode [frames] of each frame."""
        lengths = self.films.ends - self.films.starts
        return np.repeat(np.arange(len(lengths)), lengths)

    def instructions(self, episodes: NDArray[np.int64], wrong: NDArray[np.bool_], rng: np.random.Generator) -> Any:
        """Return places [B] in `words` of what was asked for in episodes [B], or of other instructions if `wrong`."""
        num_right = len(set(self.data.tasks))
        others = rng.integers(num_right, len(self.words), size=len(episodes))
        return np.where(wrong, others, self.films.instruction[episodes])


class Scores(NamedTuple):
    """What a baseline says of T frames before it is calibrated.

    Attributes:
        stage: [T] the most likely one.
        progress: [T] in [0, 1].
        done: [T] in [0, 1], the higher the more likely is the task done.
    """

    stage: NDArray[np.int64]
    progress: NDArray[np.float64]
    done: NDArray[np.float64]


class Baseline(NamedTuple):
    """What a baseline's module makes of material.

    Attributes:
        model: to be trained by `robolearn.train.trainer.train`.
        batches: from the step to its batch.
        read: from normalised frames [T, n] by channel and the features [TEXT_DIM] of the instruction to what the model
            says of them, from what was seen up to each.
    """

    model: Any
    batches: Callable[[int], dict[str, NDArray[Any]]]
    read: Callable[[Channels, NDArray[np.float32]], Scores]


def train_baseline(
    setup: Setup,
    data: EpisodeDataset,
    shares: NDArray[np.float64],
    *,
    observed: Sequence[str] = (STATE, SCENE),
    eyes: FrameEncoder | None = None,
    config: TrainRewardConfig,
    seed: int,
    out: Path,
) -> tuple[Estimate, float]:
    """Train a baseline, or go on training it; return it, and the probability from which it calls a task done.

    Args:
        setup: the baseline.
        data: episodes with stages.
        shares: of the stages in the progress.
        observed: channels that it sees, proprioception and poses or pictures.
        eyes: whose features of pictures it sees.
        config: of the training and of what is kept for validation.
        seed: of weights, batches and the choice of the validation episodes.
        out: folder of the checkpoint.
    """
    import torch

    from robolearn.train.trainer import train

    kept, held_out = data.split(config.validation, seed=seed)
    schema = read_schema(data, list(observed))
    films = footage(
        kept,
        schema,
        labels_of(kept, shares),
        tokenizer=Tokenizer(),
        num_wrong=config.augment.num_wrong,
        seed=seed,
    )
    normalizer = Normalizer(schema, kept.statistics)
    features = features_of(schema, normalizer) if eyes is None else features_by(eyes)
    films = replace(films, channels=features(films.channels))
    make: Callable[..., Baseline] = importlib.import_module(f"{__package__}.{setup.module}").make
    torch.manual_seed(seed)
    built = make(Material(kept, films, word_features(films.tokens), shares, seed), setup)
    train(
        built.model,
        built.batches,
        steps=config.train.steps,
        out=out,
        learning_rate=setup.learning_rate,
        warmup=config.train.warmup,
        weight_decay=setup.weight_decay,
        ema_decay=config.train.ema_decay,
        grad_clip=setup.grad_clip,
        seed=seed,
        save_every=config.train.save_every,
    )

    def scores(frames: Mapping[str, NDArray[Any]], instruction: str) -> Scores:
        words = word_features(Tokenizer()([instruction]))[0]
        with torch.inference_mode():
            return built.read(features(normalizer.observation(frames)), words)

    judged = labelled_episodes(held_out, schema, labels_of(held_out, shares))
    return calibrated(
        scores,
        [scores(episode.frames, episode.instruction).done for episode in judged],
        [episode.labels.stage >= len(shares) for episode in judged],
        num_stages=len(shares),
    )


def features_of(schema: Schema, normalizer: Normalizer) -> Callable[[Channels], Channels]:
    """Return a function from normalised channels [T, n] to these and, with the scene, `Relations` of all poses."""
    import torch

    from robolearn.networks.relations import Relations, pose_slots

    slots = pose_slots(schema)
    if sum(map(len, slots.values())) < 2:
        return lambda channels: channels
    relations = Relations(slots, {key: schema[key].shape[0] for key in slots})
    for key in slots:
        relations.set_units(key, offset=normalizer[key].offset, scale=normalizer[key].scale)

    def features(channels: Channels) -> Channels:
        apart = relations({key: torch.from_numpy(channels[key]) for key in slots}).numpy()
        return {**channels, SCENE: np.concatenate((channels[SCENE], apart), axis=1)}

    return features


def features_by(eyes: FrameEncoder) -> Callable[[Channels], Channels]:
    """Return a function from channels [T, ...] with pictures to these with features [T, n] in place of a scene."""
    import torch

    eyes.eval()

    @torch.inference_mode()
    def features(channels: Mapping[str, NDArray[Any]]) -> Channels:
        parts = []
        for key, camera in zip(eyes.pictures, eyes.cameras, strict=True):
            pictures = torch.from_numpy(channels[key])
            parts.append(torch.cat([camera(some[None])[0] for some in pictures.split(AT_A_TIME)]).numpy())
        rest = {key: values for key, values in channels.items() if key not in eyes.pictures}
        return {**rest, SCENE: np.concatenate(parts, axis=1)}

    return features


def calibrated(
    scores: Callable[[Mapping[str, NDArray[Any]], str], Scores],
    done: Sequence[NDArray[np.float64]],
    truths: Sequence[NDArray[np.bool_]],
    *,
    num_stages: int,
) -> tuple[Estimate, float]:
    """Return an estimator whose success is a probability, and the one from which it calls a task done.

    Who calls a task done says that it is in no stage any more.

    Args:
        scores: from frames and instruction to what a baseline says of them.
        done: scores [T] of validation episodes.
        truths: whether the task was done [T].
        num_stages: of the task.
    """
    slope, offset = platt(np.concatenate(done), np.concatenate(truths))

    def probability(score: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1.0 / (1.0 + np.exp(-slope * logit(score) - offset))

    done_at = done_threshold([probability(score) for score in done], truths)

    def estimate(frames: Mapping[str, NDArray[Any]], instruction: str) -> Read:
        found = scores(frames, instruction)
        success = probability(found.done)
        return Read(np.where(success >= done_at, num_stages, found.stage), found.progress, success)

    return estimate, done_at


def word_features(tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return features [n, TEXT_DIM] of instructions from their ids [n, words, pieces]: a sum of a vector per word."""
    words = tokens[..., 0]  # the first piece of a word is itself
    vectors = np.random.default_rng(0).normal(size=(Tokenizer().buckets + 1, TEXT_DIM))
    vectors[PADDING] = 0.0
    count = np.maximum((words != PADDING).sum(-1, keepdims=True), 1)
    features: NDArray[np.float32] = (vectors[words].sum(-2) / np.sqrt(count)).astype(np.float32)
    return features
