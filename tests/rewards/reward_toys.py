"""A task that is one number: go from 0 to 1; its first stage ends half way."""

import importlib

import numpy as np
import torch

from robolearn.rewards.clips import Footage, Tricks, clips, edges
from robolearn.rewards.labels import Labels
from robolearn.rewards.phrases import other_instructions
from robolearn.rewards.serving import TorchEstimator
from robolearn.schema import Feature, Schema

KINDS = ("sarm", "recurrent", "pairwise", "value", "preference")
LABEL_KINDS = ("sarm", "recurrent", "pairwise")  # which learn the progress that labels tell
OBSERVED = "observation.state"
SCHEMA = Schema(
    {
        OBSERVED: Feature("float32", (2,), ("place", "noise"), ("1", "1"), "observation"),
        "action": Feature("float32", (1,), ("go",), ("1",), "action", (-1.0,), (1.0,)),
    },
    fps=20,
)
STATISTICS = {OBSERVED: {"mean": [0.5, 0.0], "std": [0.3, 1.0]}}
SETTINGS = {
    "sarm": {"window": 3, "gap": 2, "num_blocks": 1, "num_heads": 2},
    "recurrent": {"snippet": 4, "snippets": 3},
    "pairwise": {"clip_frames": 4, "gap": 3, "num_goals": 4},
    "value": {"clip_frames": 6, "n_step": 3, "num_atoms": 21},
    "preference": {"clip_frames": 4, "gap": 3, "margin": 2},
}


def make_model(kind, *, hidden_dim=32, **settings):
    torch.manual_seed(0)
    build = importlib.import_module(f"robolearn.rewards.{kind}.modeling_{kind}").build
    common = {"stage_names": ["near", "far"], "shares": [0.5, 0.5], "hidden_dim": hidden_dim, "language_dim": 8}
    return build(SCHEMA, **(common | SETTINGS[kind] | settings))


def estimator_of(kind, *, model=None):
    if model is None:
        model = make_model(kind)
        if kind == "pairwise":  # nothing runs without the frames that it compares with
            finish(model)
    return TorchEstimator(model, SCHEMA, STATISTICS)


def episode(length, *, seed):
    rng = np.random.default_rng(seed)
    place = np.cumsum(rng.uniform(-0.3, 1.0, length))
    place = np.clip(place / max(place.max(), 1e-3), 0, 1)
    return {OBSERVED: np.stack((place, rng.normal(size=length)), axis=1).astype(np.float32)}


def footage_for(model):
    """Forty random episodes, all of which reach the goal at some time."""
    places = [episode(40, seed=s)[OBSERVED] for s in range(40)]
    state = np.concatenate(places)
    ends = 40 * np.arange(1, 41)
    place = state[:, 0].astype(np.float64)
    stage = np.minimum((place * 2).astype(np.int64), 2)
    labels = Labels(stage, np.where(stage < 2, place * 2 - stage, 0.0), place)
    normal = (state - STATISTICS[OBSERVED]["mean"]) / STATISTICS[OBSERVED]["std"]
    asked = ["go there", *other_instructions(["go there"], count=50, seed=0)]
    further = {
        "action": np.diff(state[:, :1], axis=0, append=0.0).astype(np.float32),
        "frame": np.tile(np.arange(40), 40),
        "success": np.ones(len(state), bool),
        "intervention": np.zeros(len(state), bool),
    }
    channels = {OBSERVED: normal.astype(np.float32)} | {key: further[key] for key in model.reads}
    return Footage(channels, ends - 40, ends, labels, np.zeros(40, int), model.frames.tokenizer(asked))


def batches_for(model):
    length, gap = model.clip
    tricks = Tricks(rewind=0, pause=0, warp=0, still=0) if model.consecutive else Tricks()
    make = clips(footage_for(model), length=length, gap=gap, batch_size=64, seed=0, tricks=tricks)
    return lambda step: tensors(make(step))


def finish(model):
    starts, goals = edges(footage_for(model), num_stages=2)
    with torch.no_grad():
        model.finish(tensors(starts), tensors(goals))


def tensors(batch):
    return {key: torch.from_numpy(values) for key, values in batch.items()}


def train_a_little(model, *, steps):
    """Train on random episodes, and return a batch."""
    batches = batches_for(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        loss, _ = model(batches(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if steps:
        finish(model)
    return batches(steps)
