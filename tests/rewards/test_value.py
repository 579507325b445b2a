"""Value as progress: targets, gradients kept apart, target networks, and values that are known."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reward_toys import OBSERVED, STATISTICS, batches_for, estimator_of, make_model, tensors

from robolearn.rewards.clips import Footage, Tricks, clips
from robolearn.rewards.labels import Labels
from robolearn.rewards.value.modeling_value import as_buffers
from robolearn.rewards.value.targets import n_step_targets, two_hot
from robolearn.train.trainer import train

GAMMA, LENGTH = 0.9, 8


def plain_targets(done, valid, bootstrap, n_step):
    """The same, frame by frame."""
    values, known = np.zeros(len(done)), np.zeros(len(done), bool)
    for t in range(len(done)):
        m, last = 0, min(t + n_step, len(done) - 1)
        while not done[t + m] and t + m < last:
            m += 1
        values[t] = GAMMA**m * (1.0 if done[t + m] else bootstrap[t + m])
        known[t] = valid[t] and valid[t + m] and (done[t + m] or m > 0)
    return values, known


@given(st.integers(0, 10_000), st.integers(1, 9))
def test_targets_are_discounted_success_or_the_value_a_few_steps_ahead(seed, n_step):
    rng = np.random.default_rng(seed)
    done, bootstrap = rng.random((3, 7)) < 0.2, rng.random((3, 7))
    valid = np.arange(7) >= rng.integers(0, 7, size=(3, 1))
    target, known = n_step_targets(*map(torch.from_numpy, (done, valid, bootstrap)), gamma=GAMMA, n_step=n_step)
    for row in range(3):
        values, mask = plain_targets(done[row], valid[row], bootstrap[row], n_step)
        np.testing.assert_array_equal(known[row].numpy(), mask)
        np.testing.assert_allclose(target[row].numpy()[mask], values[mask], rtol=1e-5)


def test_a_recording_that_ran_out_of_time_is_no_failure():
    none, valid = torch.zeros(1, 3, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool)
    target, known = n_step_targets(none, valid, torch.tensor([[0.1, 0.2, 0.8]]), gamma=0.5, n_step=5)
    torch.testing.assert_close(target[:, :2], torch.tensor([[0.2, 0.4]]))
    assert known.tolist() == [[True, True, False]]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=5), st.integers(2, 60))
def test_two_places_share_a_value(values, num_atoms):
    value = torch.tensor(values, dtype=torch.float64)
    spread = two_hot(value, num_atoms)
    assert (spread >= 0).all()
    assert ((spread > 0).sum(-1) <= 2).all()
    torch.testing.assert_close(spread.sum(-1), torch.ones_like(value))
    torch.testing.assert_close(spread @ torch.linspace(0, 1, num_atoms, dtype=torch.float64), value)


def gradients(model, batch):
    torch.manual_seed(0)
    model.zero_grad()
    model(batch)[0].backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def test_the_actor_teaches_nobody_but_itself():
    model = make_model("value")
    batch = batches_for(model)(0)
    plain = gradients(model, batch)
    model.config.alpha = 40.0
    changed = gradients(model, batch)
    assert plain.keys() == dict(model.named_parameters()).keys()
    for name, gradient in plain.items():
        assert torch.equal(gradient, changed[name]) == (not name.startswith("actor.")), name


def test_the_critic_learns_the_lower_target_of_the_two():
    model = make_model("value")
    batch = batches_for(model)(0)
    batch["stage"].zero_()
    with torch.no_grad():
        for critic, last in zip(model.target_critics, (0, -1), strict=True):  # one says 0 everywhere, the other 1
            critic[-1][-1].weight.zero_()
            critic[-1][-1].bias.fill_(-50.0)
            critic[-1][-1].bias[last] = 50.0
    assert model(batch)[1]["value"] == pytest.approx(0.0, abs=1e-6)


def test_target_networks_are_saved_and_never_trained():
    model = make_model("value")
    names = {name for name, _ in model.named_parameters()}
    targets = [name for name, _ in model.named_buffers() if name.startswith("target_")]
    assert targets
    assert not names & set(targets)
    assert set(targets) <= model.state_dict().keys()
    assert {name.removeprefix("target_") for name in targets} <= names
    twin = as_buffers(model.actor)
    x = torch.randn(3, 32)
    torch.testing.assert_close(twin(x), model.actor(x))


def test_target_networks_follow():
    model = make_model("value", polyak=0.25)
    before = copy.deepcopy(model.target_critics.state_dict())
    with torch.no_grad():
        for weight in model.critics.parameters():
            weight.add_(1.0)
    model.update()
    for name, value in model.target_critics.state_dict().items():
        torch.testing.assert_close(value, before[name] + 0.25)


def test_a_training_that_was_killed_ends_with_the_same_weights(tmp_path):
    arguments = {"steps": 12, "warmup": 2, "save_every": 5, "seed": 1}
    whole, killed, again = (make_model("value") for _ in range(3))
    train(whole, batches_for(whole), out=tmp_path / "whole", **arguments)

    class Killed(BaseException):
        pass

    def die(step, _loss, _rate):
        if step == 8:
            raise Killed

    with pytest.raises(Killed):
        train(killed, batches_for(killed), out=tmp_path / "killed", on_step=die, **arguments)
    train(again, batches_for(again), out=tmp_path / "killed", **arguments)
    assert not torch.equal(whole.state_dict()["target_actor.0.0.weight"], make_model("value").target_actor[0][0].weight)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def corridor(model):
    """Episodes that go from 0 to 1 in equal steps; in a third of them a wrong action on the way ends that for good."""
    states, actions, stages = [], [], []
    step = np.arange(LENGTH + 1)
    for k in range(30):
        stop = LENGTH if k % 3 else int(np.random.default_rng(k).integers(1, LENGTH - 1))
        place, stuck = np.minimum(step, stop) / LENGTH, step > stop
        states.append(np.stack((place, stuck), axis=1))
        actions.append(np.where((step < stop) | (stop == LENGTH), 1.0, -1.0)[:, None])
        stages.append((place * 2).astype(np.int64))
    state, stage = np.concatenate(states), np.concatenate(stages)
    ends = (LENGTH + 1) * np.arange(1, 31)
    channels = {OBSERVED: normal(state), "action": np.concatenate(actions).astype(np.float32)}
    labels = Labels(stage, np.zeros(len(stage)), state[:, 0])
    tokens = model.frames.tokenizer(["go there"])
    return Footage(channels, ends - LENGTH - 1, ends, labels, np.zeros(30, int), tokens)


def normal(state):
    statistics = STATISTICS[OBSERVED]
    return ((state - statistics["mean"]) / statistics["std"]).astype(np.float32)


def test_it_learns_how_soon_the_task_can_be_done():
    model = make_model("value", hidden_dim=64, gamma=GAMMA, polyak=0.05, num_atoms=51, noise=0.05)
    plain = Tricks(rewind=0, pause=0, warp=0, still=0, wrong=0)
    batches = clips(corridor(model), length=6, gap=1, batch_size=64, seed=0, tricks=plain)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=300)
    for step in range(300):
        optimizer.zero_grad()
        model(tensors(batches(step)))[0].backward()
        optimizer.step()
        schedule.step()
        model.update()
    place = np.arange(LENGTH + 1) / LENGTH
    estimator = estimator_of("value", model=model)
    going = estimator.episode({OBSERVED: np.stack((place, 0 * place), axis=1).astype(np.float32)}, "go there")
    over = going.progress.numpy() - GAMMA ** np.arange(LENGTH, -1, -1)
    assert ((over > -0.17) & (over < 0.05)).all()  # the lower one of two critics: on the safe side
    assert (np.diff(going.progress.numpy()) > 0).all()
    assert going.success[-1] > 0.5
    assert (going.success[:-2] < 0.5).all()
    stuck = estimator.episode({OBSERVED: np.stack((place, 0 * place + 1), axis=1).astype(np.float32)}, "go there")
    assert (stuck.progress[1:5] < 0.6 * going.progress[1:5]).all()
