import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.data.importers.resample import SECOND, Rule, TooOldError, episodes, grid, pick

MS = SECOND // 1000


def ns(*milliseconds):
    return np.array(milliseconds, np.int64) * MS


def by_hand(times, tick, rule):
    """What `pick` must find for one frame, looked for message by message."""
    sides = [i for i, t in enumerate(times) if (t <= tick if rule.take == "last" else t >= tick)]
    if not sides:
        return -1
    place = sides[-1] if rule.take == "last" else sides[0]
    fresh = rule.resample == "hold" or abs(tick - times[place]) <= rule.tolerance * SECOND
    return place if fresh else -1


@given(
    times=st.lists(st.integers(0, 2000), min_size=1, max_size=20),
    ticks=st.lists(st.integers(-100, 2200), min_size=1, max_size=20),
    resample=st.sampled_from(["hold", "asof", "drop"]),
    take=st.sampled_from(["last", "next"]),
    tolerance=st.sampled_from([0.001, 0.05, 0.3]),
)
def test_every_frame_takes_the_message_that_a_search_by_hand_finds(times, ticks, resample, take, tolerance):
    times, ticks = ns(*sorted(times)), ns(*sorted(ticks))
    rule = Rule(resample, tolerance, take=take)
    found = pick(times, ticks, rule)
    for tick, place in zip(ticks, found, strict=True):
        expected = by_hand(times, tick, rule)
        assert (place < 0) == (expected < 0)
        assert place < 0 or times[place] == times[expected]


@given(st.lists(st.lists(st.integers(0, 3000), min_size=1, max_size=30), min_size=1, max_size=3), st.integers(1, 50))
def test_frames_are_a_period_apart_and_no_held_channel_is_asked_before_its_first_message(stamps, fps):
    series = [ns(*sorted(times)) for times in stamps]
    rules = [Rule()] * len(series)
    ticks = grid(series, rules, fps=fps)
    assert (np.abs(np.diff(ticks) - SECOND / fps) <= 1).all()
    for places in episodes(series, rules, fps=fps):
        assert len(places) == len(ticks)
        assert (places >= 0).all()


def test_a_held_channel_says_nothing_about_the_end():
    ticks = grid([ns(0, 100), ns(0, 100, 200, 1000)], [Rule(), Rule("asof", 0.1)], fps=10)
    assert ticks[-1] == 1000 * MS
    ticks = grid([ns(0, 2000), ns(0, 1000)], [Rule(), Rule("asof", 0.1)], fps=10)
    assert ticks[-1] == 1000 * MS


def test_a_silent_sensor_is_an_error_that_says_where():
    series = [ns(*range(0, 1001, 100)), ns(0, 100, 200, 700, 800, 900, 1000)]
    rules = [Rule("asof", 0.15), Rule("asof", 0.15)]
    with pytest.raises(TooOldError) as error:
        episodes(series, rules, fps=10)
    assert (error.value.channel, error.value.time) == (1, 400 * MS)


def test_a_silent_sensor_can_cut_the_episode_in_two():
    series = [ns(*range(0, 1001, 100)), ns(0, 100, 200, 700, 800, 900, 1000)]
    rules = [Rule("asof", 0.15), Rule("asof", 0.15, "cut")]
    first, second = episodes(series, rules, fps=10)
    np.testing.assert_array_equal(first, [[0, 0], [1, 1], [2, 2], [3, 2]])
    np.testing.assert_array_equal(second, [[7, 3], [8, 4], [9, 5], [10, 6]])


def test_frames_without_a_fresh_message_can_be_dropped():
    series = [ns(*range(0, 501, 100)), ns(0, 100, 400, 500)]
    (places,) = episodes(series, [Rule(), Rule("drop", 0.05)], fps=10)
    np.testing.assert_array_equal(places, [[0, 0], [1, 1], [4, 2], [5, 3]])


def test_the_next_message_is_the_command_that_answers():
    commands = ns(30, 130, 230)
    (places,) = episodes([ns(0, 100, 200, 300), commands], [Rule(), Rule("asof", 0.05, take="next")], fps=10)
    np.testing.assert_array_equal(places, [[0, 0], [1, 1], [2, 2]])
