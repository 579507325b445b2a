"""Replay of episodes: windows drawn from it against their definition, and what is forgotten."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.data.replay import Replay, Trajectory
from robolearn.errors import UserError


class Each:
    """Draws every index once, in order."""

    def integers(self, high, size):
        return np.arange(size) % high


def make_episode(number, rewards, *, terminated=True):
    """Frame t shows (number, t); so does the action that is taken there, and a picture that is all t."""
    steps = np.arange(len(rewards) + 1)
    seen = np.stack((np.full_like(steps, number), steps), axis=1).astype(np.float32)
    pictures = np.broadcast_to(steps.astype(np.uint8)[:, None, None, None], (len(steps), 2, 2, 3))
    frames = {"obs": seen, "picture": pictures}
    return Trajectory(frames, seen[:-1] + 0.5, np.array(rewards, np.float32), terminated, terminated)


def filled(capacity, episodes):
    replay = Replay(capacity)
    for episode in episodes:
        replay.add(episode)
    return replay


def every_window(replay, *, length, gamma):
    return replay.draw(Each(), len(replay), length=length, gamma=gamma)


def starts(replay):
    """(episode, step) of every window's start."""
    return [tuple(row) for row in every_window(replay, length=1, gamma=1.0).frames["obs"].astype(int).tolist()]


def expected_window(episode, t, *, length, gamma):
    """A window by its definition, step by step."""
    last, action, inside, total, k = len(episode.reward), [], [], 0.0, 0
    for i in range(length):
        inside.append(t + i < last)
        action.append(episode.action[min(t + i, last - 1)])
        if inside[-1]:
            total += gamma**i * float(episode.reward[t + i])
            k += 1
    ended = episode.terminated and t + k == last
    return np.stack(action), inside, total, 0.0 if ended else gamma**k, t + k


# ---------------------------------------------------------------- windows

episodes_drawn = st.lists(
    st.tuples(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=9), st.booleans()), min_size=1, max_size=12
)


@given(episodes_drawn, st.integers(10, 32), st.integers(1, 6), st.floats(0.5, 1.0))
def test_every_window_of_the_kept_episodes_equals_its_definition(drawn, capacity, length, gamma):
    episodes = [make_episode(k, rewards, terminated=ended) for k, (rewards, ended) in enumerate(drawn)]
    replay = Replay(capacity)
    for count, newest in enumerate(episodes, start=1):
        replay.add(newest)
        kept = range(count - replay.num_episodes, count)
        assert starts(replay) == [(number, t) for number in kept for t in range(len(drawn[number][0]))]
        windows = every_window(replay, length=length, gamma=gamma)
        for k, (number, t) in enumerate(starts(replay)):
            episode = episodes[number]
            action, inside, total, discount, after = expected_window(episode, t, length=length, gamma=gamma)
            np.testing.assert_array_equal(windows.action[k], action)
            assert windows.inside[k].tolist() == inside
            assert windows.reward[k] == pytest.approx(total, rel=1e-5, abs=1e-5)
            assert windows.discount[k] == pytest.approx(discount)
            assert windows.frames["obs"][k].tolist() == [number, t]
            assert windows.after["obs"][k].tolist() == [number, after]
            assert (windows.after["picture"][k] == after).all()


def test_a_window_that_ends_inside_a_chunk_keeps_its_reward_and_masks_its_actions():
    replay = filled(20, [make_episode(0, [0, 0, 0, 0, 0, 0, 1])])
    windows = every_window(replay, length=5, gamma=0.5)
    assert windows.inside.sum(axis=1).tolist() == [5, 5, 5, 4, 3, 2, 1]
    assert windows.inside[5].tolist() == [True, True, False, False, False]
    assert windows.reward.tolist() == [0, 0, 0.5**4, 0.5**3, 0.25, 0.5, 1]
    assert windows.discount.tolist() == [0.5**5] * 2 + [0.0] * 5
    np.testing.assert_array_equal(windows.action[5, :, 1], [5.5, 6.5, 6.5, 6.5, 6.5])
    assert (windows.after["obs"][2:, 1] == 7).all()  # what was seen when it was solved


def test_the_value_counts_after_a_truncation_but_not_after_a_termination():
    for terminated, discounts in ((False, [0.25, 0.5]), (True, [0.0, 0.0])):
        replay = filled(9, [make_episode(0, [0, 0], terminated=terminated)])
        windows = every_window(replay, length=5, gamma=0.5)
        assert windows.discount.tolist() == discounts
        assert windows.after["obs"][:, 1].tolist() == [2, 2]


def test_windows_are_drawn_evenly_and_none_begins_at_a_last_frame():
    episodes = [make_episode(k, [0.0] * steps) for k, steps in enumerate((1, 4, 5))]
    windows = filled(30, episodes).draw(np.random.default_rng(0), 5000, length=3, gamma=0.9)
    drawn, counts = np.unique(windows.frames["obs"], axis=0, return_counts=True)
    assert {tuple(row) for row in drawn} == {(k, t) for k, steps in enumerate((1, 4, 5)) for t in range(steps)}
    assert counts.min() > 400  # 500 each, were they drawn evenly


def test_drawn_windows_have_plain_types():
    replay = filled(30, [make_episode(0, [0.0, 1.0])])
    windows = replay.draw(np.random.default_rng(0), 7, length=3, gamma=0.9)
    assert windows.action.shape == (7, 3, 2)
    assert windows.frames["picture"].shape == (7, 2, 2, 3)
    types = {x.dtype.name for x in (windows.action, windows.reward, windows.discount, windows.frames["obs"])}
    assert types == {"float32"}
    assert (windows.inside.dtype, windows.frames["picture"].dtype) == (np.bool_, np.uint8)


def test_what_is_drawn_is_a_copy():
    replay = filled(30, [make_episode(0, [0.0, 1.0])])
    every_window(replay, length=1, gamma=1.0).frames["obs"][:] = 9
    assert starts(replay) == [(0, 0), (0, 1)]


# ---------------------------------------------------------------- what is kept


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(10, 40))
def test_the_newest_episodes_are_kept_and_little_room_is_wasted(lengths, capacity):
    replay, rows = Replay(capacity), [steps + 1 for steps in lengths]
    for count, steps in enumerate(lengths, start=1):
        replay.add(make_episode(count, [0.0] * steps))
        kept = lengths[count - replay.num_episodes : count]
        assert replay.num_episodes >= 1
        assert len(replay) == sum(kept)
        assert len(replay) + len(kept) >= min(sum(rows[:count]), capacity - 2 * max(rows[:count]))


@pytest.mark.parametrize(("count", "kept"), [(1, [0]), (3, [0, 1, 2]), (4, [1, 2, 3]), (8, [5, 6, 7])])
def test_the_oldest_episode_goes_when_the_ring_is_full(count, kept):
    replay = filled(12, [make_episode(k, [0.0] * 3) for k in range(count)])  # four rows each
    assert sorted({number for number, _ in starts(replay)}) == kept


def test_an_episode_that_fills_the_ring_is_kept_alone():
    replay = filled(10, [make_episode(0, [0.0] * 4), make_episode(1, [0.0] * 9), make_episode(2, [0.0] * 9)])
    assert (replay.num_episodes, len(replay)) == (1, 9)
    assert {number for number, _ in starts(replay)} == {2}


def test_an_episode_longer_than_the_ring_is_refused_and_nothing_is_forgotten():
    replay = filled(10, [make_episode(0, [0.0] * 5)])
    with pytest.raises(UserError, match="an episode of 10 steps does not fit a replay of 10 frames: enlarge it"):
        replay.add(make_episode(1, [0.0] * 10))
    assert starts(replay) == [(0, t) for t in range(5)]


def test_memory_is_taken_as_the_ring_fills():
    pictures = np.zeros((3, 64, 64, 3), np.uint8)
    episode = Trajectory({"picture": pictures}, np.zeros((2, 1), np.float32), np.zeros(2, np.float32), True, True)
    before = resident()
    replay = filled(100_000, [episode])  # 1.2 GB when it is full
    assert len(replay) == 2
    assert resident() - before < 50e6


def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
