"""The recurrent model's head for kinds of failure."""

import dataclasses

import numpy as np
import pytest
import torch
from reward_toys import OBSERVED, episode, estimator_of, footage_for, make_model, tensors

from robolearn.errors import UserError
from robolearn.rewards.clips import Tricks, clips
from robolearn.rewards.serving import load_estimator, save_estimator

KINDS = ["left", "right"]
ASIDE = (0.0, 2.0, -2.0)  # what a kind does to the second number, in the later half of an episode
WORDS = "go there"


def failing(kind, *, seed):
    frames = episode(40, seed=seed)
    frames[OBSERVED][20:, 1] = ASIDE[kind]
    return frames


def failing_footage(model, *, unknown=()):
    """Episodes of no failure and both kinds in turn."""
    footage = footage_for(model)
    kinds = np.arange(40) % 3
    state = footage.channels[OBSERVED].reshape(40, 40, 2).copy()
    state[:, 20:, 1] = np.array(ASIDE)[kinds, None]
    told = np.where(np.isin(kinds, unknown), -1, kinds)
    channels = {**footage.channels, OBSERVED: state.reshape(-1, 2), "kind": np.repeat(told, 40)}
    return dataclasses.replace(footage, channels=channels)


def batches(footage, *, length):
    make = clips(footage, length=length, gap=1, batch_size=64, seed=0, tricks=Tricks())
    return lambda step: tensors(make(step))


@pytest.fixture(scope="module")
def trained():
    model = make_model("recurrent", kinds=KINDS)
    next_batch = batches(failing_footage(model), length=model.clip[0])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(150):
        loss, figures = model(next_batch(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert "kind_loss" in figures
    return estimator_of("recurrent", model=model)


def test_it_tells_kinds_from_what_was_seen_so_far(trained):
    for seed in range(9):
        kind = seed % 3
        told = trained.kinds(failing(kind, seed=100 + seed), WORDS)
        np.testing.assert_allclose(told.sum(1), 1, atol=1e-5)
        assert told[-1].argmax() == kind
        assert told[-1, kind] > 0.8
        assert told[:20].max(1).mean() < 0.6  # nothing has happened yet


def test_kinds_frame_by_frame_are_the_same_as_all_at_once(trained):
    frames = failing(1, seed=50)
    model = trained.model
    with torch.inference_mode():
        features = trained._features(frames, WORDS)
        state, told = model.start(), []
        for one in features:
            state, known = model.advance(state, one)
            told.append(model.kinds_of(known)[0])
        torch.testing.assert_close(torch.stack(told), model.kinds(features), atol=1e-5, rtol=1e-4)


def test_no_kind_depends_on_a_later_frame(trained):
    frames = failing(2, seed=51)
    before = trained.kinds(frames, WORDS)
    frames[OBSERVED][30:] += 3.0
    after = trained.kinds(frames, WORDS)
    np.testing.assert_allclose(before[:30], after[:30], atol=1e-6)
    assert np.abs(before[30:] - after[30:]).max() > 1e-6


def test_wrong_instructions_and_other_kinds_teach_nothing_of_kinds():
    model = make_model("recurrent", kinds=KINDS)
    batch = batches(failing_footage(model, unknown=(2,)), length=model.clip[0])(0)
    assert batch["wrong"].any()
    assert (batch["kind"] == -1).any()
    changed = {**batch, "kind": torch.where(batch["wrong"][:, None], 2, batch["kind"])}
    losses = []
    for one in (batch, changed):
        torch.manual_seed(0)
        losses.append(model(one)[1]["kind_loss"])
    assert losses[0] == losses[1]


def test_a_model_without_kinds_is_what_it_was():
    with_kinds, without = make_model("recurrent", kinds=KINDS).state_dict(), make_model("recurrent").state_dict()
    assert {key for key in with_kinds if key not in without} == {key for key in with_kinds if key.startswith("kind.")}
    for key, values in without.items():
        torch.testing.assert_close(with_kinds[key], values)
    for kind in ("recurrent", "sarm"):
        with pytest.raises(UserError, match=r"reward\.kinds"):
            estimator_of(kind).kinds(episode(5, seed=0), WORDS)


def test_a_file_keeps_kinds_and_their_temperature(trained, tmp_path):
    frames = failing(1, seed=52)
    before = trained.kinds(frames, WORDS)
    trained.model.config.kinds_temperature = 3.0
    save_estimator(tmp_path / "model", trained)
    trained.model.config.kinds_temperature = 1.0
    again = load_estimator(tmp_path / "model")
    assert again.model.config.kinds == KINDS
    assert again.kinds(frames, WORDS)[-1].max() < before[-1].max()


def test_kinds_must_have_different_names():
    for kinds in (["left", "left"], ["", "left"]):
        with pytest.raises(UserError, match="different names"):
            make_model("recurrent", kinds=kinds)
