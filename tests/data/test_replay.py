"""Replay ring and n-step returns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.data.replay import NStep, Replay

SHAPES = {"obs": (2,), "reward": ()}


def entry(k):
    return {"obs": (k, -k), "reward": 0.5 * k}


def filled(capacity, count):
    replay = Replay(capacity, SHAPES)
    for k in range(count):
        replay.add(entry(k))
    return replay


def stored(replay):
    """First number of each transition, oldest first."""
    return replay.state()["obs"][:, 0].tolist()


@pytest.mark.parametrize(("count", "kept"), [(0, []), (3, [0, 1, 2]), (5, [0, 1, 2, 3, 4]), (7, [2, 3, 4, 5, 6])])
def test_the_oldest_goes_when_the_ring_is_full(count, kept):
    replay = filled(5, count)
    assert len(replay) == len(kept)
    assert stored(replay) == kept
    np.testing.assert_array_equal(replay.state()["reward"], 0.5 * np.array(kept))


def test_samples_are_whole_transitions_drawn_from_all():
    replay = filled(5, 7)
    batch = replay.sample(np.random.default_rng(0), 500)
    assert {key: value.shape for key, value in batch.items()} == {"obs": (500, 2), "reward": (500,)}
    assert set(batch["obs"][:, 0]) == {2, 3, 4, 5, 6}
    np.testing.assert_array_equal(batch["obs"][:, 1], -batch["obs"][:, 0])
    np.testing.assert_array_equal(batch["reward"], 0.5 * batch["obs"][:, 0])
    counts = np.unique(batch["obs"][:, 0], return_counts=True)[1]
    assert counts.min() > 60  # 100 each, were they drawn evenly


def test_what_is_not_yet_filled_is_never_drawn():
    batch = filled(100, 3).sample(np.random.default_rng(0), 200)
    assert set(batch["obs"][:, 0]) == {0, 1, 2}


@pytest.mark.parametrize("count", [0, 3, 5, 7])
def test_a_restored_ring_goes_on_like_the_old_one(count):
    old = filled(5, count)
    new = Replay(5, SHAPES)
    new.restore({key: value.copy() for key, value in old.state().items()})
    for k in range(100, 104):
        assert stored(new) == stored(old)
        assert len(new) == len(old)
        for replay in (old, new):
            replay.add(entry(k))


def test_a_smaller_ring_takes_the_newest():
    small = Replay(3, SHAPES)
    small.restore(filled(5, 7).state())
    assert stored(small) == [4, 5, 6]
    small.add(entry(9))
    assert stored(small) == [5, 6, 9]


# ---------------------------------------------------------------- n-step returns

steps = st.tuples(st.floats(-2, 2), st.sampled_from(["", "", "", "terminated", "truncated"]))


def transitions(episode, *, n, gamma, world=0, nstep=None):
    """What NStep makes of [(reward, end), ...]; state t is the number t, the state after step t is t + 1/2."""
    nstep = NStep(1, n=n, gamma=gamma) if nstep is None else nstep
    made = []
    for t, (reward, end) in enumerate(episode):
        over = {"terminated": end == "terminated", "truncated": end == "truncated"}
        made += nstep.add(world, {"obs": t}, reward, {"next_obs": t + 0.5}, **over)
    return made


def brute_force(episode, *, n, gamma):
    """Every step whose n-step return is known when the sequence ends, by the definition."""
    expected = []
    for t in range(len(episode)):
        k, ended = 0, ""
        while t + k < len(episode) and k < n and not ended:
            ended = episode[t + k][1]
            k += 1
        if k == n or ended:
            total = sum(gamma**i * episode[t + i][0] for i in range(k))
            discount = 0.0 if ended == "terminated" else gamma**k
            expected.append({"obs": t, "next_obs": t + k - 0.5, "reward": total, "discount": discount})
    return expected


@given(st.lists(steps, max_size=30), st.integers(1, 6), st.floats(0.5, 1.0))
def test_n_step_returns_equal_their_definition(episode, n, gamma):
    made = transitions(episode, n=n, gamma=gamma)
    assert [m["obs"] for m in made] == sorted(m["obs"] for m in made)
    for got, expected in zip(made, brute_force(episode, n=n, gamma=gamma), strict=True):
        assert got == pytest.approx(expected)


def test_every_step_of_a_finished_episode_gives_one_transition():
    episode = [(0.0, "")] * 9 + [(1.0, "terminated")]
    made = transitions(episode, n=3, gamma=0.5)
    assert [m["obs"] for m in made] == list(range(10))
    assert [m["reward"] for m in made[-3:]] == [0.25, 0.5, 1.0]
    assert [m["discount"] for m in made[-4:]] == [0.5**3, 0.0, 0.0, 0.0]


def test_the_value_counts_after_a_truncation_but_not_after_a_termination():
    for end, discounts in (("truncated", [0.25, 0.5]), ("terminated", [0.0, 0.0])):
        made = transitions([(0.0, ""), (0.0, end)], n=5, gamma=0.5)
        assert [m["discount"] for m in made] == discounts
        assert {m["next_obs"] for m in made} == {1.5}


def test_worlds_do_not_mix():
    nstep = NStep(2, n=3, gamma=0.9)
    over = {"terminated": False, "truncated": False}
    for t in range(2):
        for world in range(2):
            assert nstep.add(world, {"obs": 10 * world + t}, 1.0 + world, {"next_obs": 0}, **over) == []
    (first,) = nstep.add(1, {"obs": 12}, 2.0, {"next_obs": 5}, **over)
    assert first == pytest.approx({"obs": 10, "next_obs": 5, "reward": 2 * (1 + 0.9 + 0.81), "discount": 0.9**3})


def test_a_stored_start_is_a_copy():
    nstep = NStep(1, n=2, gamma=1.0)
    start = {"obs": 1}
    nstep.add(0, start, 0.0, {"next_obs": 0}, terminated=False, truncated=False)
    start["obs"] = 99
    (made,) = nstep.add(0, start, 0.0, {"next_obs": 0}, terminated=False, truncated=False)
    assert made["obs"] == 1
