"""LeRobot's SARM as shipped, trained on batches made as its processor makes them; a baseline of `bench rewards`.

The model is LeRobot's class. Its processor wants pictures and the weights of CLIP, which are not at hand: numbers of
the scene stand for features of the picture, random vectors of words for those of the text. All else is as there:

- the window looks as far ahead as back; of a whole batch either all clips are rewound or none;
- the frames shown for a rewind are those before the present one, the labels those before the window's first;
- a batch has one instruction, its first clip's, or a perturbed one with zero targets;
- frames past a clip's length are zeros with zero targets, and count in the loss;
- targets go by the annotated segments' clock: on the last frame of a segment they are in the next stage already.

At run time there is no future: the frames ahead are the present one again, as at an episode's end.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lerobot.rewards.sarm.configuration_sarm import SARMConfig
from lerobot.rewards.sarm.modeling_sarm import SARMRewardModel
from lerobot.rewards.sarm.sarm_utils import find_stage_and_tau, pad_state_to_max_dim
from numpy.typing import NDArray

from robolearn.bench._reward_baselines import SCENE, STATE, TEXT_DIM, Baseline, Channels, Material, Scores, Setup
from robolearn.data.dataset import EpisodeDataset

Ints = NDArray[np.int64]
Batch = dict[str, NDArray[Any]]


def make(material: Material, setup: Setup) -> Baseline:
    """Return the model, its batches and how it is read; see `robolearn.bench._reward_baselines`."""
    names = list(material.data.stage_names)
    config = config_of(material, setup, names=names, shares=material.shares.tolist())
    model = SARMRewardModel(config)
    targets = segment_targets(material.data, names)
    random.seed(material.seed)  # whose coin its training step throws

    def batches(step: int) -> Batch:
        return shipped_batch(material, config, targets, batch_size=setup.batch_size, step=step)

    offsets = np.array(config.observation_delta_indices[: config.n_obs_steps + 1])
    center = config.n_obs_steps // 2

    def read(frames: Channels, words: NDArray[np.float32]) -> Scores:
        return read_windows(model, frames, words, offsets=offsets, place=center)

    return Baseline(model, batches, read)


def config_of(material: Material, setup: Setup, *, names: list[str], shares: list[float]) -> SARMConfig:
    """Return the configuration of a model with these stages.

    Only the mode with two heads takes several stages for the sparse one; the dense one is given no targets, and learns
    nothing.
    """
    state, scene = (material.films.channels[key].shape[1] for key in (STATE, SCENE))
    stages = {f"{kind}_subtask_names": names for kind in ("sparse", "dense")}
    proportions = {f"{kind}_temporal_proportions": shares for kind in ("sparse", "dense")}
    return SARMConfig(
        annotation_mode="dual",
        num_sparse_stages=len(names),
        num_dense_stages=len(names),
        image_dim=scene,
        text_dim=TEXT_DIM,
        max_state_dim=max(SARMConfig.max_state_dim, state),
        device="cpu",
        **stages,
        **proportions,
        **setup.network,
    )


def segment_targets(data: EpisodeDataset, names: list[str]) -> NDArray[np.float32]:
    """Return LeRobot's targets [frames], stage + progress within it, from the annotated segments."""
    columns = [data.columns[f"sparse_subtask_{column}"] for column in ("names", "start_frames", "end_frames")]
    targets = []
    for i, (start, end) in enumerate(zip(data.starts, data.ends, strict=True)):
        segments = [column[i] if len(column[i]) else None for column in columns]
        length = int(end - start)
        targets += [find_stage_and_tau(t, length, *segments, names, {}, return_combined=True) for t in range(length)]
    return np.array(targets, np.float32)


def shown_and_labelled(
    now: Ints, first: Ints, last: Ints, rewound: Ints, config: SARMConfig
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Return frames shown, frames whose labels they are given, and which of them are within a clip's length.

    Args:
        now: [B] frame at the centre of the window.
        first: [B] of its episode.
        last: [B] of its episode.
        rewound: [B] frames appended.
        config: of the model.

    Returns:
        Three arrays [B, config.num_frames].
    """
    shown = now[:, None] + np.array(config.observation_delta_indices)
    shown = np.clip(shown, first[:, None], last[:, None])
    num_seen = config.n_obs_steps + 1
    before = _earliest(now, config)[:, None] - config.frame_gap * np.arange(1, config.max_rewind_steps + 1)
    labelled = np.concatenate((shown[:, :num_seen], np.maximum(before, first[:, None])), axis=1)
    return shown, labelled, np.arange(config.num_frames) < num_seen + rewound[:, None]


def rewindable(now: Ints, first: Ints, config: SARMConfig) -> Ints:
    """Return how many frames [B] can be rewound at most: as many as there are before the window."""
    return np.clip((_earliest(now, config) - first) // config.frame_gap, 0, config.max_rewind_steps)


def _earliest(now: Ints, config: SARMConfig) -> Ints:
    return now - config.n_obs_steps // 2 * config.frame_gap


def shipped_batch(
    material: Material, config: SARMConfig, targets: NDArray[np.float32], *, batch_size: int, step: int
) -> Batch:
    """Return a batch as `SARMEncodingProcessorStep` makes it of what LeRobot's sampler draws."""
    rng, films = np.random.default_rng((material.seed, step)), material.films
    last = films.ends[material.episode] - 1
    drawn = np.flatnonzero(np.arange(len(last)) <= last - config.drop_n_last_frames)
    now = drawn[rng.integers(len(drawn), size=batch_size)]
    episode = material.episode[now]
    first = films.starts[episode]
    most = rewindable(now, first, config)
    rewound = 1 + np.floor(rng.random(batch_size) * most).astype(np.int64)
    rewound = np.where((most > 0) & (rng.random() < config.rewind_probability), rewound, 0)
    shown, labelled, valid = shown_and_labelled(now, first, last[now], rewound, config)
    perturbed = rng.random() < config.language_perturbation_probability
    asked = material.instructions(episode[:1], np.array([perturbed]), rng)
    truth = targets[labelled] * valid * (not perturbed)
    return clip_batch(material, shown, truth, valid, material.words[np.repeat(asked, batch_size)])


def clip_batch(
    material: Material,
    shown: Ints,
    targets: NDArray[np.float32],
    valid: NDArray[np.bool_],
    words: NDArray[np.float32],
) -> Batch:
    """Return what the model's `forward` takes: frames shown [B, T] where they are `valid` [B, T], elsewhere zeros."""
    state, scene = (material.films.channels[key][shown] * valid[..., None] for key in (STATE, SCENE))
    return {
        "video_features": scene,
        "state_features": state,
        "text_features": words,
        "lengths": valid.sum(1),
        "sparse_targets": targets.astype(np.float32),
    }


def read_windows(
    model: SARMRewardModel,
    frames: Channels,
    words: NDArray[np.float32],
    *,
    offsets: Ints,
    place: int,
) -> Scores:
    """Return what the model says of all frames of an episode: `calculate_rewards` of a window for each.

    That the task is done is as likely as its last stage, and the more so the further it is.

    Args:
        model: LeRobot's, or one with its face.
        frames: normalised [T, n] by channel.
        words: [TEXT_DIM].
        offsets: [W] of the window's frames from the present one; the present one stands for those after it.
        place: of the frame in the window that is read.
    """
    now = np.arange(len(frames[STATE]))[:, None]
    shown = np.clip(now + offsets, 0, now)
    state, scene = (torch.from_numpy(frames[key][shown]) for key in (STATE, SCENE))
    progress, stages = model.calculate_rewards(
        torch.from_numpy(words).expand(len(now), -1),
        scene,
        pad_state_to_max_dim(state, model.config.max_state_dim),
        return_all_frames=True,
        return_stages=True,
    )
    progress, stages = progress[:, place].astype(np.float64), stages[:, place].astype(np.float64)
    return Scores(stages.argmax(-1), progress, stages[:, -1] * progress)
