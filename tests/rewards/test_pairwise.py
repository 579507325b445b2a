"""Hops between frames, and what is fused from them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reward_toys import batches_for, edges, episode, estimator_of, footage_for, make_model, tensors

from robolearn.errors import UserError
from robolearn.rewards.pairwise.hops import advanced, consistency, hop_between
from robolearn.rewards.pairwise.modeling_pairwise import Pairwise

SHARES = st.floats(0, 1, width=32)


def features_of(model, frames):
    return estimator_of("pairwise", model=model)._features(frames, "go there").detach()


@given(SHARES, SHARES)
def test_a_hop_leads_from_one_progress_to_the_other(before, after):
    a, b = torch.tensor(before, dtype=torch.float64), torch.tensor(after, dtype=torch.float64)
    hop = hop_between(a, b)
    assert -1 <= hop <= 1
    assert float(advanced(a, hop)) == pytest.approx(after, abs=1e-5)
    assert (hop > 0) == (after > before) or abs(after - before) < 1e-6


@given(SHARES, st.floats(-1, 1, width=32))
def test_no_hop_leads_out_of_the_range_of_progress(before, hop):
    assert 0 <= advanced(torch.tensor(before), torch.tensor(hop)) <= 1


def test_hops_at_the_ends_of_the_range():
    before = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.5, 0.5])
    after = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.75, 0.25])
    torch.testing.assert_close(hop_between(before, after), torch.tensor([0.0, 0.0, 1.0, -1.0, 0.5, -0.5]))


def test_estimates_that_agree_are_trusted():
    forward, backward = torch.tensor([0.5, 0.4, 0.0, 0.0]), torch.tensor([0.5, 0.6, 0.0, 1.0])
    weight = consistency(forward, backward, sharpness=2.0)
    # D = 0, 0.2 / 0.5, 0, 1 / 0.5
    torch.testing.assert_close(weight, torch.exp(-2 * torch.tensor([0.0, 0.16, 0.0, 4.0])))


def test_nothing_changed_is_no_hop_at_all():
    model = make_model("pairwise")
    features = torch.randn(7, 32)
    assert not model.hop(features, features).any()
    assert (model.hop(features, features.flip(0))[[0, 1, 2]] != 0).all()


def test_a_still_film_stays_where_it_is():
    frames = {key: values[[3] * 20] for key, values in episode(5, seed=3).items()}
    progress = estimator_of("pairwise").episode(frames, "go there").progress
    assert (progress == progress[0]).all()


def test_estimates_are_those_of_the_paper():
    estimator = estimator_of("pairwise")
    model = estimator.model
    features = features_of(model, episode(12, seed=4))
    told = model.estimates(features)
    for t in range(12):
        forward = max(float(model.hop(features[0], features[t])), 0.0)
        backward = min(1 + float(model.hop(model.goals, features[t]).mean()), 1.0)
        if t == 0:
            incremental = (forward + backward) / 2
        else:
            before = max(t - model.config.gap, 0)
            hop, reached = float(model.hop(features[before], features[t])), float(told.fused[before])
            incremental = reached + ((1 - reached) if hop >= 0 else reached) * hop
        assert float(told.forward[t]) == pytest.approx(forward, abs=1e-5)
        assert float(told.backward[t]) == pytest.approx(backward, abs=1e-5)
        assert float(told.incremental[t]) == pytest.approx(incremental, abs=1e-5)
        assert float(told.fused[t]) == pytest.approx((forward + backward + incremental) / 3, abs=1e-5)
    assert ((told.consistency > 0) & (told.consistency <= 1)).all()


def test_memory_does_not_grow():
    model = estimator_of("pairwise").model
    state = model.start()
    for features in torch.randn(20, 32):
        state, _ = model.step(state, features)
    assert len(state.ring) == model.config.gap


def test_without_frames_of_success_it_says_what_is_missing():
    model = make_model("pairwise")
    with pytest.raises(UserError, match="train-reward"):
        model.step(model.start(), torch.zeros(32))
    starts, goals = (tensors(frames) for frames in edges(footage_for(model), num_stages=2))
    with pytest.raises(UserError, match="no episode ended in success"):
        model.finish(starts, {key: values[:0] for key, values in goals.items()})


def test_reference_frames_are_those_of_successes():
    model = make_model("pairwise").eval()
    starts, goals = (tensors(frames) for frames in edges(footage_for(model), num_stages=2))
    with torch.no_grad():
        model.finish(starts, goals)
        features = model.frames(goals)[:, 0]
    assert model.goals.shape == (4, 32)
    assert all((features == goal).all(1).any() for goal in model.goals)


def across(model: Pairwise, *wrong):
    """Loss of pairs over the border of two clips; the second follows the first, and the first the second."""
    batch = {key: values[: len(wrong)] for key, values in batches_for(model)(0).items()}
    batch |= {"valid": torch.ones(len(wrong), model.config.clip_frames, dtype=torch.bool), "wrong": torch.tensor(wrong)}
    return model(batch)[1]["hop_loss_across"]


def test_films_are_compared_unless_the_first_has_a_wrong_instruction_and_the_second_the_right_one():
    model = make_model("pairwise").eval()
    assert across(model, False, False) > 0
    assert across(model, False, True, True) > 0
    single = across(model, False, True)
    frames = batches_for(model)(0)
    features = model.frames({key: values[:2] for key, values in frames.items()})
    progress = model.before[frames["stage"][:2]] + model.shares[frames["stage"][:2]] * frames["tau"][:2]
    truth = hop_between(progress[0][:, None], progress[1])
    mine = (model.hop(features[0][:, None], features[1]) - truth).square().mean()
    assert single == pytest.approx(float(mine), rel=1e-4)
