"""Chunks of a frozen base and the targets of their values."""

import numpy as np
import pytest
import torch
from chunk_toy import Forked, Silent, batch_of, constant
from hypothesis import given
from hypothesis import strategies as st
from rl_toy import Point, demonstrations, make_units

from robolearn.acting import Acting
from robolearn.data.replay import Replay
from robolearn.errors import UserError
from robolearn.rl import chunks
from robolearn.rl.chunks import (
    PLANS,
    PLANS_NOISE,
    ask,
    chunk_target,
    least_of_two,
    noise_shape_of,
    values_of,
    with_plans,
)
from robolearn.rl.experience import relabelled
from robolearn.rl.interaction import Interaction
from robolearn.rl.networks import EnsembleMLP
from robolearn.rl.reads import HISTORY


def shown(*, reads=True):
    return relabelled(demonstrations(1), Forked(), make_units(Forked.schema), seed=0, reads=reads)[0]


def test_a_base_is_asked_for_the_actions_that_it_would_execute():
    base, units, episode = Forked(), make_units(Forked.schema), shown()
    noise = np.random.default_rng(0).standard_normal((2 * len(episode.reward) + 2, 4, 1)).astype(np.float32)
    asked = ask(base, units, episode.frames, noise, n_samples=2)
    state = episode.frames["history.observation.state"]
    planned = base.predict_chunk({"observation.state": state}, noise, 2).values[..., :3, 0] / 0.2
    np.testing.assert_allclose(asked, planned, atol=1e-6)


def test_plans_are_what_the_base_makes_of_their_noise():
    base, units, episode = Forked(), make_units(Forked.schema), shown()
    done = with_plans(episode, base, units, np.random.default_rng(0), count=2, noise=True, reads=True)
    noise = done.frames[PLANS_NOISE].astype(np.float32).reshape(-1, 4, 1)
    np.testing.assert_allclose(
        done.frames[PLANS], ask(base, units, episode.frames, noise, n_samples=2), atol=1e-3, rtol=0
    )
    assert done.frames[PLANS].dtype == done.frames[PLANS_NOISE].dtype == np.float16
    assert done.action is episode.action
    assert abs(done.frames[PLANS_NOISE].astype(float).std() - 1) < 0.2
    assert any(key.startswith(HISTORY) for key in done.frames)


def test_what_the_base_read_may_go_once_it_has_planned():
    done = with_plans(shown(), Forked(), make_units(Forked.schema), np.random.default_rng(0), count=1)
    assert not any(key.startswith(HISTORY) or key == PLANS_NOISE for key in done.frames)


def test_plans_do_not_depend_on_how_many_are_asked_for_at_once(monkeypatch):
    episode, units = shown(), make_units(Forked.schema)
    plans = []
    for rows in (1, 7, 1000):
        monkeypatch.setattr(chunks, "ROWS", rows)
        done = with_plans(episode, Forked(), units, np.random.default_rng(0), count=3)
        plans.append(done.frames[PLANS])
    np.testing.assert_array_equal(plans[0], plans[1])
    np.testing.assert_array_equal(plans[0], plans[2])


def test_a_base_without_noise_is_refused():
    with pytest.raises(UserError, match="draws no noise"):
        noise_shape_of(Silent())


def test_a_cost_until_success_is_the_return_less_one():
    batch = batch_of([0.81], [0.0])  # success at the third step, gamma 0.9
    assert chunk_target(batch, torch.zeros(1), step_cost=False).tolist() == pytest.approx([0.81])
    assert chunk_target(batch, torch.zeros(1), step_cost=True).tolist() == pytest.approx([-0.19])


def test_to_fail_early_costs_as_much_as_never_to_succeed():
    failed, far = batch_of([0.0], [0.0]), batch_of([0.0], [0.81])
    assert chunk_target(failed, torch.zeros(1), step_cost=True).tolist() == [-1.0]
    assert chunk_target(far, -torch.ones(1), step_cost=True).tolist() == [-1.0]


@given(
    gamma=st.floats(0.5, 0.99),
    steps=st.integers(1, 6),
    over=st.booleans(),
    value=st.floats(0, 1),
)
def test_both_rewards_order_everything_alike(gamma, steps, over, value):
    inside = torch.arange(6)[None] < steps
    reward = gamma ** (steps - 1) if over else 0.0
    batch = batch_of([reward], [0.0 if over else gamma**steps], steps=6)._replace(inside=inside)
    sparse = chunk_target(batch, torch.tensor([value]), step_cost=False)
    cost = chunk_target(batch, torch.tensor([value - 1]), step_cost=True)
    torch.testing.assert_close(cost, sparse - 1, atol=1e-5, rtol=0)


def test_targets_keep_values_within_what_is_possible():
    batch = batch_of([0.0, 0.0], [0.5, 0.5])
    wild = torch.tensor([7.0, -7.0])
    assert chunk_target(batch, wild, step_cost=False).tolist() == [0.5, 0.0]
    assert chunk_target(batch, wild, step_cost=True).tolist() == pytest.approx([-0.5, -1.0])


def test_a_window_that_ends_inside_a_chunk_keeps_its_reward():
    env, base = Point(4), Forked()
    acting = Interaction(env, Acting(base), make_units(base.schema), seed=1)
    episodes = []
    while not any(one.success for one in episodes):
        episodes += acting.step()
    episode = next(one for one in episodes if one.success)
    replay = Replay(100)
    replay.add(episode)
    windows = replay.draw(np.random.default_rng(0), 2000, length=3, gamma=0.9)
    short = ~windows.inside[:, -1]
    assert 0 < short.mean() < 0.5
    steps = windows.inside[short].sum(axis=1)
    np.testing.assert_allclose(windows.reward[short], 0.9 ** (steps - 1), rtol=1e-6)
    assert (windows.discount[short] == 0).all()


def test_values_of_several_chunks_are_those_of_each_alone():
    torch.manual_seed(0)
    critic = EnsembleMLP(5, 1, hidden=8, heads=3)
    seen, several = torch.randn(4, 2), torch.randn(4, 6, 3)
    together = values_of(critic, seen, several)
    alone = torch.stack([values_of(critic, seen, several[:, j]) for j in range(6)], dim=2)
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(values_of(critic, seen, several, heads=torch.tensor([2, 0])), together[[2, 0]])


def test_the_lesser_of_two_random_heads_is_taken():
    critic = EnsembleMLP(5, 1, hidden=8, heads=3)
    constant(critic, 0.1, 0.2, 0.3)
    generator = torch.Generator().manual_seed(0)
    seen, chunk = torch.randn(1, 2), torch.randn(1, 3)
    drawn = [round(least_of_two(critic, seen, chunk, generator).item(), 3) for _ in range(300)]
    assert set(drawn) == {0.1, 0.2}
    assert 0.55 < np.mean([value == 0.1 for value in drawn]) < 0.78
