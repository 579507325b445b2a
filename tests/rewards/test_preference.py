"""A potential from ranked pairs: who is preferred to whom, and what it makes of that."""

import numpy as np
import pytest
import torch
from reward_toys import (
    OBSERVED,
    batches_for,
    edges,
    episode,
    estimator_of,
    footage_for,
    make_model,
    tensors,
    train_a_little,
)

from robolearn.errors import UserError
from robolearn.rewards.metrics import spearman
from robolearn.rewards.preference.modeling_preference import AT_END, AT_START


@pytest.fixture
def model():
    return make_model("preference").eval()


def batch_of(model, **changes):
    """Eight clips of frames in order, of successes under their own instruction, none of which ends."""
    batch = {key: values[:8] for key, values in batches_for(model)(0).items()}
    frames = model.config.clip_frames
    plain = {
        "stage": torch.zeros(8, frames, dtype=torch.int64),
        "valid": torch.ones(8, frames, dtype=torch.bool),
        "wrong": torch.zeros(8, dtype=torch.bool),
        "frame": 3 * torch.arange(frames).expand(8, frames),
        "success": torch.ones(8, frames, dtype=torch.bool),
        "intervention": torch.zeros(8, frames, dtype=torch.bool),
    }
    return batch | plain | changes


def test_stages_on_the_way_do_not_matter(model):
    batch = batch_of(model)
    other = batch | {"stage": torch.randint(0, 2, batch["stage"].shape), "tau": torch.rand(batch["tau"].shape)}
    assert torch.equal(model(batch)[0], model(other)[0])
    assert not torch.equal(model(batch)[0], model(batch | {"stage": torch.full_like(batch["stage"], 2)})[0])


def test_later_frames_of_a_success_are_preferred(model):
    batch = batch_of(model)
    order = model(batch)[1]["order_loss"]
    potential = model.potential(model.frames(batch))[..., 0].double()
    pairs = [(p, q) for p in range(4) for q in range(p + 1, 4)]
    expected = np.mean([np.log1p(np.exp(float(film[p] - film[q]))) for film in potential for p, q in pairs])
    assert order == pytest.approx(expected, rel=1e-5)
    backwards = batch | {"frame": batch["frame"].flip(1)}
    assert model(backwards)[1]["order_loss"] != pytest.approx(order, rel=1e-3)
    close = batch | {"frame": batch["frame"] // 3}  # neighbours are too near to be told apart
    fewer = [(p, q) for p, q in pairs if q - p >= 2]
    expected = np.mean([np.log1p(np.exp(float(film[p] - film[q]))) for film in potential for p, q in fewer])
    assert model(close)[1]["order_loss"] == pytest.approx(expected, rel=1e-5)


def test_frames_of_a_failure_have_no_order_unless_a_person_took_over(model):
    failed = torch.zeros(8, model.config.clip_frames, dtype=torch.bool)
    assert model(batch_of(model, success=failed))[1]["order_loss"] == 0
    person = failed.clone()
    person[:, 2:] = True
    batch = batch_of(model, success=failed, intervention=person)
    potential = model.potential(model.frames(batch))[..., 0].double()
    expected = np.mean([np.log1p(np.exp(float(f[p] - f[q]))) for f in potential for p in (0, 1) for q in (2, 3)])
    assert model(batch)[1]["order_loss"] == pytest.approx(expected, rel=1e-5)


def test_the_end_of_a_success_beats_any_frame_of_a_failure(model):
    batch = batch_of(model)
    batch["success"][4:] = False
    assert model(batch)[1]["outcome_loss"] == 0
    batch["stage"][1, -1] = 2
    potential = model.potential(model.frames(batch))[..., 0].double()
    expected = np.mean(np.log1p(np.exp((potential[4:].flatten() - potential[1, -1]).detach().numpy())))
    assert model(batch)[1]["outcome_loss"] == pytest.approx(expected, rel=1e-5)


def test_films_under_a_wrong_instruction_lose_and_rank_nothing(model):
    batch = batch_of(model, wrong=torch.ones(8, dtype=torch.bool))
    assert model(batch)[1]["order_loss"] == model(batch)[1]["instruction_loss"] == 0
    batch["wrong"][:2] = False
    potential = model.potential(model.frames(batch))[..., 0].double().detach().numpy()
    gaps = potential[2:].reshape(-1, 1) - potential[:2].reshape(1, -1)
    assert model(batch)[1]["instruction_loss"] == pytest.approx(np.log1p(np.exp(gaps)).mean(), rel=1e-5)


def test_it_learns_the_order_and_calibrates_its_ends():
    model = make_model("preference", hidden_dim=64)
    train_a_little(model, steps=150)
    model.eval()
    estimator = estimator_of("preference", model=model)
    starts, goals = (tensors(frames) for frames in edges(footage_for(model), num_stages=2))
    assert float(model.compute_reward(starts).median()) == pytest.approx(AT_START, abs=1e-4)
    assert float(model.compute_reward(goals).median()) == pytest.approx(AT_END, abs=1e-4)
    frames = episode(40, seed=77)
    reading = estimator.episode(frames, "go there")
    assert spearman(reading.progress.numpy(), frames[OBSERVED][:, 0]) > 0.95
    assert estimator.progress(frames, "water the flowers").mean() < 0.1


def test_a_potential_that_does_not_rise_is_refused(model):
    model = make_model("preference", hidden_dim=64)
    train_a_little(model, steps=30)
    starts, goals = (tensors(frames) for frames in edges(footage_for(model), num_stages=2))
    with pytest.raises(UserError, match="rank no higher"), torch.no_grad():
        model.finish(goals, starts)
