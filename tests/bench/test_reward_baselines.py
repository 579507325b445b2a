"""Baselines of the comparison of reward models: made as their authors make them, judged causally like ours."""

import dataclasses
import importlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lerobot.rewards.sarm.configuration_sarm import SARMConfig
from lerobot.rewards.sarm.modeling_sarm import SARMRewardModel
from lerobot.rewards.sarm.processor_sarm import SARMEncodingProcessorStep
from lerobot.rewards.sarm.sarm_utils import apply_rewind_augmentation, compute_absolute_indices
from reward_toy import NAMES, SARM_NETWORK, material_of, tiny, toy

from robolearn.bench import _reward_runs
from robolearn.bench._lerobot_sarm import rewindable, segment_targets, shipped_batch, shown_and_labelled
from robolearn.bench._mended_sarm import MendedSARM, mended_batch, predicate_targets
from robolearn.bench._reward_baselines import (
    SCENE,
    STATE,
    THEIRS,
    features_of,
    train_baseline,
    word_features,
)
from robolearn.bench._reward_runs import Run, Sets
from robolearn.bench._rewind import evenly, film_batch, first_done, rewound_film
from robolearn.commands.reward_data import shares_of
from robolearn.compose import build, compose
from robolearn.data.images import Images
from robolearn.data.layout import PROGRESS, STAGE
from robolearn.errors import UserError
from robolearn.language import Tokenizer
from robolearn.normalize import Normalizer
from robolearn.proprioception import POSE_NAMES
from robolearn.rewards.metrics import spearman
from robolearn.schema import Feature, Schema

# training steps after which it has learned the toy, and how well; LeRobot's looks ahead, where nothing is at run time
LEARNED = {"lerobot_sarm": (100, 0.6), "lerobot_sarm_mended": (100, 0.9), "rewind": (100, 0.9)}


def config_of(**changes):
    network = SARM_NETWORK | changes
    return SARMConfig(
        annotation_mode="dual",
        num_sparse_stages=3,
        sparse_subtask_names=["near", "far", "done"],
        sparse_temporal_proportions=[0.5, 0.5, 0.0],
        num_dense_stages=3,
        image_dim=3,
        text_dim=64,
        device="cpu",
        **network,
    )


def model_of(kind):
    torch.manual_seed(0)
    return kind(config_of()).eval()


@pytest.fixture(scope="module")
def data():
    return toy()


def test_words_are_a_sum_of_vectors_that_are_always_the_same():
    told = word_features(Tokenizer()(["Pick up the cube.", "the cube up pick", "pick up the box", ""]))
    assert told.shape == (4, 64)
    np.testing.assert_allclose(told[0], told[1], atol=1e-6)
    assert np.abs(told[0] - told[2]).max() > 0.3
    assert not told[3].any()


def test_baselines_too_see_where_bodies_are_from_each_other():
    names = {key: tuple(f"{body}_{name}" for name in POSE_NAMES) for key, body in ((STATE, "tool"), (SCENE, "cube"))}
    schema = Schema(
        {key: Feature("float32", (9,), one, ("1",) * 9, "observation") for key, one in names.items()}
        | {"action": Feature("float32", (1,), ("go",), ("1",), "action", (-1.0,), (1.0,))},
        fps=20,
    )
    normalizer = Normalizer(schema, {key: {"mean": [0.1] * 9, "std": [0.5] * 9} for key in names})
    upright = np.array([1, 0, 0, 0, 1, 0])
    places = np.random.default_rng(0).uniform(0, 0.3, (2, 5, 3))
    frames = {key: np.column_stack((p, np.tile(upright, (5, 1)))) for key, p in zip(names, places, strict=True)}
    features = features_of(schema, normalizer)
    found = features(normalizer.observation(frames))
    assert {key: x.shape for key, x in found.items()} == {STATE: (5, 9), SCENE: (5, 9 + 2 * 2 * 3)}
    for values in frames.values():
        values[:, :3] += 0.2  # all bodies elsewhere, and as far from each other
    moved = features(normalizer.observation(frames))
    np.testing.assert_allclose(moved[SCENE][:, 9:], found[SCENE][:, 9:], atol=1e-4)
    assert np.ptp(found[SCENE][:, 9:], axis=0).min() > 0.01


@pytest.mark.parametrize("name", THEIRS)
def test_no_reading_depends_on_a_later_frame(data, name):
    setup, material = tiny(name), material_of(data)
    torch.manual_seed(0)
    built = importlib.import_module(f"robolearn.bench.{setup.module}").make(material, setup)
    built.model.eval()
    frames = {key: values[:60].copy() for key, values in material.films.channels.items()}
    with torch.inference_mode():
        before = built.read(frames, material.words[0])
        for values in frames.values():
            values[35:] = np.random.default_rng(0).normal(size=values[35:].shape)
        after = built.read(frames, material.words[0])
    assert [len(values) for values in before] == [60, 60, 60]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one[:35], other[:35], atol=1e-5)
    assert np.abs(before.progress[35:] - after.progress[35:]).max() > 1e-4


@pytest.mark.parametrize(("kind", "leaks"), [(SARMRewardModel, True), (MendedSARM, False)])
def test_lerobots_attention_sees_later_frames_of_its_window_and_the_mended_one_does_not(kind, leaks):
    model = model_of(kind)
    scene, state, words = torch.randn(4, 9, 3), torch.randn(4, 9, 32), torch.randn(4, 64)
    stages = [model.calculate_rewards(words, scene, state, return_all_frames=True, return_stages=True)[1]]
    scene[:, 6:], state[:, 6:] = 1.0, -1.0
    stages.append(model.calculate_rewards(words, scene, state, return_all_frames=True, return_stages=True)[1])
    moved = np.abs(stages[0] - stages[1])
    assert moved[:, 6:].max() > 1e-3
    assert (moved[:, :6].max() > 1e-3) == leaks


@pytest.mark.parametrize(("kind", "counts"), [(SARMRewardModel, True), (MendedSARM, False)])
def test_lerobot_counts_padding_in_its_loss_and_the_mended_one_does_not(kind, counts):
    model = model_of(kind)
    model.gt_stage_ratio = 1.0
    batch = {
        "video_features": torch.randn(4, 13, 3),
        "state_features": torch.randn(4, 13, 2),
        "text_features": torch.randn(4, 64),
        "lengths": torch.full((4,), 9),
        "sparse_targets": torch.rand(4, 13) * 2,
    }
    before = model(batch)[0].item()
    batch["sparse_targets"][:, 9:] = 1.5
    assert (abs(model(batch)[0].item() - before) > 1e-4) == counts


def test_the_padding_that_lerobots_processor_appends_changes_no_reading():
    model = model_of(SARMRewardModel)
    scene, state, words = torch.randn(4, 9, 3), torch.randn(4, 9, 32), torch.randn(4, 64)
    padded = (torch.cat((x, torch.zeros(4, 4, x.shape[2])), dim=1) for x in (scene, state))
    short = model.calculate_rewards(words, scene, state, return_all_frames=True)
    long = model.calculate_rewards(words, *padded, lengths=torch.full((4,), 9), return_all_frames=True)
    np.testing.assert_allclose(short, long[:, :9], atol=1e-5)


def test_targets_are_those_of_lerobots_processor(data):
    config, material = config_of(), material_of(data)
    rng, targets = np.random.default_rng(0), segment_targets(data, list(NAMES))
    now = rng.integers(data.num_frames, size=200)
    episode = material.episode[now]
    first, last = data.starts[episode], data.ends[episode] - 1
    rewound = rng.integers(0, rewindable(now, first, config) + 1)
    shown, labelled, valid = shown_and_labelled(now, first, last, rewound, config)

    step = object.__new__(SARMEncodingProcessorStep)  # its constructor downloads CLIP
    step.config, step.sparse_subtask_names, step.sparse_temporal_proportions = config, list(NAMES), None
    episodes = [{"dataset_from_index": a, "dataset_to_index": b} for a, b in zip(data.starts, data.ends, strict=True)]
    step.dataset_meta = SimpleNamespace(episodes=episodes)
    told = step._compute_batch_targets(
        now, episode, torch.from_numpy(valid.sum(1)), torch.from_numpy(rewound), pd.DataFrame(data.columns), "sparse"
    )
    np.testing.assert_allclose(targets[labelled] * valid, told, atol=1e-6)
    for i in range(len(now)):
        seen, _ = compute_absolute_indices(now[i], first[i], last[i] + 1, config.n_obs_steps, config.frame_gap)
        np.testing.assert_array_equal(shown[i, :9], seen)
        np.testing.assert_array_equal(shown[i, 9:], np.maximum(now[i] - 2 * np.arange(1, 5), first[i]))


@given(now=st.integers(0, 200), gap=st.integers(1, 12))
def test_as_much_is_rewound_as_lerobot_would(now, gap):
    most, _ = apply_rewind_augmentation(now, 0, 8, 4, frame_gap=gap, rewind_step=4)
    assert rewindable(np.array([now]), np.array([0]), config_of(frame_gap=gap))[0] == most


@pytest.mark.parametrize("mended", [False, True])
def test_rewound_frames_have_their_own_labels_only_when_mended(data, mended):
    material, config = material_of(data, numbered=True), config_of()
    config.language_perturbation_probability, config.rewind_probability = 0.0, 1.0
    make, targets = (
        (mended_batch, predicate_targets(material.films.labels))
        if mended
        else (shipped_batch, segment_targets(data, list(NAMES)))
    )
    batch = make(material, config, targets, batch_size=256, step=0)
    valid = np.arange(13) < batch["lengths"][:, None]
    shown = batch["state_features"][..., 0].astype(int)
    own = targets[shown] * valid
    assert valid[:, 9:].any()
    assert not batch["video_features"][~valid].any()
    np.testing.assert_allclose(batch["sparse_targets"][:, :9], own[:, :9])
    assert np.allclose(batch["sparse_targets"], own) == mended
    present = shown[:, 8] if mended else shown[:, 4]
    assert (shown[:, :9].max(1) > present).any() == (not mended)  # frames ahead of the one that is read


def test_mended_targets_never_roll_over_into_the_next_stage(data):
    labels = material_of(data).films.labels
    np.testing.assert_array_equal(np.floor(predicate_targets(labels)), labels.stage)
    rolled = np.floor(segment_targets(data, list(NAMES)))
    assert (rolled[labels.stage < 2] > labels.stage[labels.stage < 2]).any()  # LeRobot's do


@pytest.mark.parametrize("mended", [False, True])
def test_with_another_instruction_nothing_is_achieved(data, mended):
    material, config = material_of(data), config_of()
    make = mended_batch if mended else shipped_batch
    batches = [make(material, config, np.full(data.num_frames, 1.5), batch_size=8, step=step) for step in range(40)]
    right = [(batch["text_features"] == material.words[0]).all(1) for batch in batches]
    for batch, asked in zip(batches, right, strict=True):
        np.testing.assert_array_equal(batch["sparse_targets"].any(1), asked)
    share = 1 - np.mean(right)
    assert 0.1 < share < 0.35
    assert all(len(set(asked)) == 1 for asked in right) != mended  # as shipped, a batch has one instruction


@given(length=st.integers(1, 500))
def test_frames_are_spread_over_the_film_from_first_to_last(length):
    places = evenly(np.array([length]))[0]
    assert len(places) == 16
    assert (places[0], places[-1]) == (0, length - 1)
    assert (np.diff(places) >= 0).all()
    assert len(set(places)) == min(length, 16)


def test_rewind_learns_from_successes_forwards_and_backwards(data):
    assert rewound_film(4, 3).tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert rewound_film(2, 0).tolist() == [0, 1, 2]
    material = material_of(data, numbered=True)
    done = first_done(material.films.labels.stage, data.starts, data.ends, num_stages=2)
    assert ((done >= 0) == data.columns["success"]).all()
    batch = film_batch(material, material.films.channels[STATE], done, batch_size=200, step=0)
    frame = batch["frames"][..., 0].astype(int)
    episode = material.episode[frame]
    assert np.array(data.columns["success"])[episode].all()
    assert (episode == episode[:, :1]).all()
    right = (batch["words"] == material.words[0]).all(1)
    progress = np.minimum((frame - data.starts[episode]) / done[episode], 1.0)
    np.testing.assert_allclose(batch["progress"], progress * right[:, None], rtol=1e-6)
    assert 0.1 < 1 - right.mean() < 0.3
    back = (np.diff(frame, axis=1) < 0).any(1)
    assert 0.3 < back.mean() < 0.6


def test_rewind_has_nothing_to_learn_from_failures_alone(data):
    failures = data.select(np.flatnonzero(~np.array(data.columns["success"])))
    failures = dataclasses.replace(failures, columns=failures.columns | {"success": [False] * failures.num_episodes})
    rewind = importlib.import_module("robolearn.bench._rewind")
    with pytest.raises(UserError, match="successes alone"):
        rewind.make(material_of(failures), tiny("rewind"))


@pytest.mark.parametrize("name", THEIRS)
def test_a_baseline_learns_and_a_finished_training_is_read_again(data, name, tmp_path, monkeypatch):
    steps, least = LEARNED[name]
    config = build("train-reward", compose("train-reward", ["dataset=none", f"train.steps={steps}"]))
    monkeypatch.setattr(_reward_runs, "THEIRS", {name: tiny(name)})
    monkeypatch.setattr(_reward_runs, "_options", lambda _: config)
    monkeypatch.chdir(tmp_path)
    one, sets = Run("pick_place", name, 0), Sets(data, {}, shares_of(data))
    estimate, done_at = _reward_runs.make(one, sets)
    frames = {key: data.channels[key][60:120] for key in (STATE, SCENE)}
    truth = data.channels[PROGRESS][60:120, 0]
    read = estimate(frames, "go there")
    assert spearman(read.progress, truth) > least
    assert set(read.stage) <= {0, 1, 2}
    assert ((read.progress >= 0) & (read.progress <= 1)).all()
    assert ((read.success > 0) & (read.success < 1)).all()
    assert read.success[-5:].mean() > read.success[:20].mean() + 0.2
    assert 0.5 <= done_at < 1

    [checkpoint] = (tmp_path / one.folder).rglob("*.safetensors")
    written = checkpoint.stat().st_mtime_ns
    again, _ = train_baseline(tiny(name), data, sets.shares, config=config, seed=0, out=checkpoint.parent)
    np.testing.assert_allclose(again(frames, "go there").progress, read.progress, atol=1e-6)
    assert checkpoint.stat().st_mtime_ns == written


CAMERA, SIDE = "observation.images.external", 8


class Brightness(torch.nn.Module):
    """Eyes that tell a picture's brightness, and how many they were shown at a time."""

    def __init__(self):
        super().__init__()
        self.pictures, self.cameras, self.asked = (CAMERA,), [self.look], []

    def look(self, pictures):
        self.asked.append(pictures.shape[1])
        mean = pictures.float().mean((2, 3, 4)) / 127.5 - 1
        return torch.stack((mean, -mean), dim=-1)


def filmed(data):
    """The same, but where one is shows in the brightness of a picture alone."""
    rng = np.random.default_rng(1)
    bright = (255 * data.channels[STATE][:, 0]).astype(np.uint8)
    film = Images(np.tile(bright[:, None, None, None], (1, SIDE, SIDE, 3)), np.arange(len(bright)))
    channels = data.channels | {STATE: rng.normal(size=data.channels[STATE].shape).astype(np.float32)}
    del channels[SCENE]
    picture = Feature("image", (SIDE, SIDE, 3), ("height", "width", "channels"), ("1",) * 3, "observation")
    features = {key: data.schema[key] for key in (STATE, "action", STAGE, PROGRESS)} | {CAMERA: picture}
    return dataclasses.replace(data, schema=Schema(features, fps=20), channels=channels, images={CAMERA: film})


def test_a_baseline_sees_pictures_through_the_eyes_it_is_given(data, tmp_path):
    eyes, film = Brightness(), filmed(data)
    config = build("train-reward", compose("train-reward", ["dataset=none", "train.steps=100"]))
    estimate, _ = train_baseline(
        tiny("rewind"),
        film,
        shares_of(film),
        observed=(STATE, CAMERA),
        eyes=eyes,
        config=config,
        seed=0,
        out=tmp_path,
    )
    assert sum(eyes.asked) >= film.num_frames
    assert max(eyes.asked) <= 256
    frames = {STATE: film.channels[STATE][60:120], CAMERA: film.images[CAMERA].take(np.arange(60, 120))}
    truth = data.channels[PROGRESS][60:120, 0]
    assert spearman(estimate(frames, "go there").progress, truth) > 0.9
    dark = {**frames, CAMERA: np.zeros_like(frames[CAMERA])}
    assert estimate(dark, "go there").progress.max() < 0.2


def test_what_a_result_depends_on_names_the_setup():
    settings = [Run("pick_place", name, 0).settings["reward"] for name in THEIRS]
    assert [one["reward"]["module"] for one in settings] == ["_lerobot_sarm", "_mended_sarm", "_rewind"]
    assert all(one["steps"] > 0 for one in settings)
