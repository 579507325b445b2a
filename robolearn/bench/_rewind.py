"""ReWiND (Zhang et al. 2025), written from the paper's description; a baseline of `robolearn bench rewards`.

A causal transformer over the instruction and sixteen frames of the episode so far says how far each frame is: t / T.
It learns from successes alone, played forwards or rewound, and says 0 where the instruction is another one. Only the
first frame has a position, lest the others' places tell the time. That a task is done shows in its progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.bench._reward_baselines import SCENE, STATE, TEXT_DIM, Baseline, Channels, Material, Scores, Setup
from robolearn.errors import UserError
from robolearn.networks.attention import TransformerBlock

Ints = NDArray[np.int64]
FRAMES = 16
REWOUND = 0.5  # share of the films
MISMATCHED = 0.2  # share of the films with another instruction


def make(material: Material, setup: Setup) -> Baseline:
    """Return the model, its batches and how it is read; see `robolearn.bench._reward_baselines`.

    Raises:
        UserError: no episode ended in success.
    """
    films, num_stages = material.films, len(material.shares)
    features = np.concatenate((films.channels[STATE], films.channels[SCENE]), axis=1)
    done = first_done(films.labels.stage, films.starts, films.ends, num_stages=num_stages)
    if not (done >= 0).any():
        raise UserError(f"no episode of {material.data.root} ended in success: ReWiND learns from successes alone")
    model = ReWiND(features.shape[1], **setup.network)

    def batches(step: int) -> dict[str, NDArray[Any]]:
        return film_batch(material, features, done, batch_size=setup.batch_size, step=step)

    before = np.cumsum(material.shares)

    def read(frames: Channels, words: NDArray[np.float32]) -> Scores:
        seen = np.concatenate((frames[STATE], frames[SCENE]), axis=1)
        shown = torch.from_numpy(seen[evenly(np.arange(1, len(seen) + 1))])
        said = model.progress(shown, torch.from_numpy(words).expand(len(seen), -1))
        progress = said[:, -1].double().numpy()
        stage = np.searchsorted(before, progress, side="right").clip(max=num_stages - 1)
        return Scores(stage, progress, progress)

    return Baseline(model, batches, read)


class ReWiND(nn.Module):
    """The cross-modal sequential aggregator: one token for the instruction, one for each frame."""

    def __init__(self, width: int, *, hidden_dim: int, num_layers: int, num_heads: int) -> None:
        """Build it for frames of `width` numbers."""
        super().__init__()
        dim = hidden_dim
        self.frame = nn.Sequential(nn.Linear(width, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.text = nn.Linear(TEXT_DIM, dim)
        self.first = nn.Parameter(0.02 * torch.randn(dim))
        self.blocks = nn.ModuleList(TransformerBlock(dim, num_heads) for _ in range(num_layers))
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim // 2), nn.SiLU(), nn.Linear(dim // 2, 1))
        self.register_buffer("mask", torch.ones(FRAMES + 1, FRAMES + 1).tril().bool(), persistent=False)

    def progress(self, frames: Tensor, words: Tensor) -> Tensor:
        """Return the progress [B, FRAMES] of frames [B, FRAMES, width] for instructions [B, TEXT_DIM]."""
        seen = self.frame(frames)
        tokens = torch.cat((self.text(words)[:, None], seen[:, :1] + self.first, seen[:, 1:]), dim=1)
        for block in self.blocks:
            tokens = block(tokens, self.mask)
        return torch.sigmoid(self.head(tokens[:, 1:])[..., 0])

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the mean squared error of "frames" for "words" against "progress", and nothing more to log."""
        error = self.progress(batch["frames"], batch["words"]) - batch["progress"]
        return error.square().mean(), {}

    def get_optim_params(self) -> list[nn.Parameter]:
        """Return the parameters to optimise."""
        return list(self.parameters())


def first_done(stage: Ints, starts: Ints, ends: Ints, *, num_stages: int) -> Ints:
    """Return the frame of each episode [episodes] at which its demonstration ends, the task being done; -1 if never."""
    done = [np.flatnonzero(stage[a:b] >= num_stages) for a, b in zip(starts, ends, strict=True)]
    return np.array([places[0] if len(places) else -1 for places in done])


def evenly(lengths: Ints) -> Ints:
    """Return places [n, FRAMES] spread over films of these lengths [n], from their first frame to their last."""
    return np.rint(np.linspace(0, lengths - 1, FRAMES, axis=-1)).astype(np.int64)


def rewound_film(end: int, back: int) -> Ints:
    """Return the frames [end + 1 + back] of a film: from the first to `end`, then `back` of them backwards."""
    return np.concatenate((np.arange(end + 1), np.arange(end - 1, end - back - 1, -1)))


def film_batch(
    material: Material, features: NDArray[np.float32], done: Ints, *, batch_size: int, step: int
) -> dict[str, NDArray[Any]]:
    """Return films of successes: "frames" [B, FRAMES, n], "words" [B, TEXT_DIM] and "progress" [B, FRAMES].

    Args:
        material: episodes.
        features: [frames, n].
        done: from `first_done`; what follows is as far as can be.
        batch_size: films.
        step: of the training.
    """
    rng, films = np.random.default_rng((material.seed, step)), material.films
    successes = np.flatnonzero(done >= 0)
    episode = successes[rng.integers(len(successes), size=batch_size)]
    shown = np.empty((batch_size, FRAMES), np.int64)
    for i, length in enumerate(films.ends[episode] - films.starts[episode]):
        end = int(rng.integers(length))
        back = int(rng.integers(1, end + 1)) if end and rng.random() < REWOUND else 0
        film = rewound_film(end, back)
        shown[i] = film[evenly(np.array([len(film)]))[0]]
    wrong = rng.random(batch_size) < MISMATCHED
    progress = np.minimum(shown / np.maximum(done[episode], 1)[:, None], 1.0) * ~wrong[:, None]
    return {
        "frames": features[films.starts[episode][:, None] + shown],
        "words": material.words[material.instructions(episode, wrong, rng)],
        "progress": progress.astype(np.float32),
    }
