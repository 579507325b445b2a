"""LeRobot's SARM with its known mistakes mended; a baseline of `robolearn bench rewards`.

Network, augmentations and their rates stay LeRobot's. What is mended: attention is causal in time whatever the stream;
the window ends at the present frame; rewound frames have the labels of the frames that are shown; each clip has an
instruction of its own; padding counts in no loss; labels come from the simulator's predicates and progress within a
stage cannot roll over; "done" is a class of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lerobot.rewards.sarm.configuration_sarm import SARMConfig
from lerobot.rewards.sarm.modeling_sarm import SARMRewardModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robolearn.bench._lerobot_sarm import Batch, Ints, clip_batch, config_of, read_windows
from robolearn.bench._reward_baselines import Baseline, Channels, Material, Scores, Setup
from robolearn.rewards.labels import Labels
from robolearn.rewards.losses import stage_and_tau_loss

LARGEST_TAU = 0.999  # what is a whole stage more than its number belongs to the next one


def make(material: Material, setup: Setup) -> Baseline:
    """Return the model, its batches and how it is read; see `robolearn.bench._reward_baselines`."""
    names, shares = [*material.data.stage_names, "done"], [*material.shares.tolist(), 0.0]
    config = config_of(material, setup, names=names, shares=shares)
    model = MendedSARM(config)
    targets = predicate_targets(material.films.labels)

    def batches(step: int) -> Batch:
        return mended_batch(material, config, targets, batch_size=setup.batch_size, step=step)

    offsets = past_offsets(config)

    def read(frames: Channels, words: NDArray[np.float32]) -> Scores:
        return read_windows(model, frames, words, offsets=offsets, place=config.n_obs_steps)

    return Baseline(model, batches, read)


class CausalInTime(nn.Module):
    """An encoder of tokens (stream, time) that lets none see a later time, whatever mask its caller passes."""

    def __init__(self, encoder: nn.TransformerEncoder, *, streams: int) -> None:
        """Wrap an encoder of tokens [B, streams * T, dim], all times of one stream after each other."""
        super().__init__()
        self.encoder = encoder
        self.streams = streams

    def forward(self, tokens: Tensor, *, mask: Tensor, src_key_padding_mask: Tensor, is_causal: bool) -> Tensor:
        """Return [B, streams * T, dim]."""
        time = torch.arange(tokens.shape[1] // self.streams, device=tokens.device).repeat(self.streams)
        later = time[None, :] > time[:, None]
        encoded: Tensor = self.encoder(tokens, mask=later, src_key_padding_mask=src_key_padding_mask)
        return encoded


class MendedSARM(SARMRewardModel):
    """LeRobot's model, causal in time, with a loss over the frames that are there."""

    def __init__(self, config: SARMConfig, **kwargs: Any) -> None:
        """See LeRobot's class."""
        super().__init__(config, **kwargs)
        self.stage_model.transformer = CausalInTime(self.stage_model.transformer, streams=3)
        self.subtask_model.transformer = CausalInTime(self.subtask_model.transformer, streams=4)

    def _train_step(
        self, img_emb: Tensor, lang_emb: Tensor, state: Tensor, lengths: Tensor, targets: Tensor, scheme: str
    ) -> dict[str, Tensor]:
        """LeRobot's step but for what counts in the loss; the coin for the stage that is given is thrown by clip."""
        stage = targets.long()
        logits = self.stage_model(img_emb, lang_emb, state, lengths, scheme=scheme)
        told = torch.rand(len(stage), 1, device=stage.device) < self.gt_stage_ratio
        given = torch.where(told, stage, logits.argmax(-1))
        prior = functional.one_hot(given, logits.shape[-1]).to(logits.dtype)[:, None]
        tau = self.subtask_model(img_emb, lang_emb, state, lengths, prior, scheme=scheme)
        valid = torch.arange(stage.shape[1], device=stage.device) < lengths[:, None]
        loss, figures = stage_and_tau_loss(logits, tau, {"stage": stage, "tau": targets - stage, "valid": valid})
        parts = {name: torch.tensor(figures[name]) for name in ("stage_loss", "tau_loss")}
        return {"stage_loss": parts["stage_loss"], "subtask_loss": parts["tau_loss"], "total_loss": loss}


def predicate_targets(labels: Labels) -> NDArray[np.float32]:
    """Return stage + progress within it [frames], by the simulator; the number of stages where all are done."""
    return (labels.stage + np.minimum(labels.tau, LARGEST_TAU)).astype(np.float32)


def past_offsets(config: SARMConfig) -> Ints:
    """Offsets [W] of a window that ends at the present frame."""
    return config.frame_gap * np.arange(-config.n_obs_steps, 1)


def mended_batch(
    material: Material, config: SARMConfig, targets: NDArray[np.float32], *, batch_size: int, step: int
) -> Batch:
    """Return a batch of past windows, four fifths of them rewound from the present, each frame with its own label."""
    rng, films = np.random.default_rng((material.seed, step)), material.films
    now = rng.integers(len(targets), size=batch_size)
    episode = material.episode[now]
    first = films.starts[episode]
    most = np.clip((now - first) // config.frame_gap, 0, config.max_rewind_steps)
    rewound = 1 + np.floor(rng.random(batch_size) * most).astype(np.int64)
    rewound = np.where((most > 0) & (rng.random(batch_size) < config.rewind_probability), rewound, 0)
    back = -config.frame_gap * np.arange(1, config.max_rewind_steps + 1)
    shown = np.maximum(now[:, None] + np.concatenate((past_offsets(config), back)), first[:, None])
    valid = np.arange(config.num_frames) < config.n_obs_steps + 1 + rewound[:, None]
    wrong = rng.random(batch_size) < config.language_perturbation_probability
    asked = material.instructions(episode, wrong, rng)
    truth = targets[shown] * valid * ~wrong[:, None]
    return clip_batch(material, shown, truth, valid, material.words[asked])
