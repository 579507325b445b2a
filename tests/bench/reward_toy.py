"""A dataset that goes from 0 to 1, and the baselines of `bench rewards` at its size."""

import dataclasses
from pathlib import Path

import numpy as np

from robolearn.bench._reward_baselines import SCENE, STATE, THEIRS, Material, word_features
from robolearn.commands.reward_data import footage, labels_of, read_schema, shares_of
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.layout import PROGRESS, PROGRESS_FEATURE, STAGE, STAGE_FEATURE
from robolearn.data.stages import columns
from robolearn.language import Tokenizer
from robolearn.schema import Feature, Schema

NAMES = ("near", "far")
FEATURES = {STATE: 2, SCENE: 3}
SARM_NETWORK = {"hidden_dim": 16, "num_layers": 1, "num_heads": 2, "frame_gap": 2}
NETWORKS = {
    "lerobot_sarm": SARM_NETWORK,
    "lerobot_sarm_mended": SARM_NETWORK,
    "rewind": {"hidden_dim": 16, "num_layers": 1, "num_heads": 2},
}


def tiny(name):
    return dataclasses.replace(THEIRS[name], network=NETWORKS[name], learning_rate=1e-2, batch_size=32)


def toy(*, num_episodes=20):
    """Go from 0 to 1 at some speed; the first stage ends half way. A quarter of the episodes stop before the end."""
    rng = np.random.default_rng(0)
    parts, columns_of, success = [], [], []
    for i in range(num_episodes):
        success.append(i % 4 != 0)
        end = 1.0 if success[-1] else rng.uniform(0.2, 0.9)
        place = np.minimum(np.arange(60) * rng.uniform(0.02, 0.04), end)
        stage = np.minimum((place * 2).astype(int), 2)
        parts.append((place, stage))
        columns_of.append(columns(stage, NAMES))
    place, stage = (np.concatenate(column) for column in zip(*parts, strict=True))
    noise = rng.normal(size=(len(place), 3))
    channels = {
        STATE: np.column_stack((place, noise[:, 0])),
        SCENE: np.column_stack((1 - place, noise[:, 1:])),
        "action": noise[:, :1],
        STAGE: stage[:, None],
        PROGRESS: place[:, None],
    }
    features = {
        STATE: Feature("float32", (2,), ("place", "noise"), ("1", "1"), "observation"),
        SCENE: Feature("float32", (3,), ("left", "noise", "more noise"), ("1", "1", "1"), "observation"),
        "action": Feature("float32", (1,), ("go",), ("1",), "action", (-1.0,), (1.0,)),
        STAGE: STAGE_FEATURE,
        PROGRESS: PROGRESS_FEATURE,
    }
    ends = 60 * np.arange(1, num_episodes + 1)
    return EpisodeDataset(
        root=Path("toy"),
        schema=Schema(features, fps=20),
        stage_names=NAMES,
        channels={key: x.astype(np.float32) for key, x in channels.items()},
        starts=ends - 60,
        ends=ends,
        tasks=("go there",) * num_episodes,
        columns={"success": success} | {key: [row[key] for row in columns_of] for key in columns_of[0]},
        task_index=np.zeros(len(place), np.int64),
    )


def material_of(data, *, numbered=False):
    """What a baseline learns from; with `numbered`, a frame looks like its own number."""
    shares = shares_of(data)
    films = footage(
        data, read_schema(data, [STATE, SCENE]), labels_of(data, shares), tokenizer=Tokenizer(), num_wrong=50, seed=0
    )
    if numbered:
        number = np.arange(data.num_frames, dtype=np.float32)[:, None]
        films = dataclasses.replace(films, channels={key: number.repeat(n, 1) for key, n in FEATURES.items()})
    return Material(data, films, word_features(films.tokens), shares, 0)
