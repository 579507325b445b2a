"""Measured joints that jump."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.real.jump_watch import JumpWatch

VELOCITY = (2.0, 1.0)


@pytest.fixture
def watch():
    return JumpWatch(("shoulder", "elbow"), VELOCITY, bound=0.05)


def took(watch, *messages):
    """What is told after messages of (position, stamp, received)."""
    for position, stamp, received in messages:
        watch.take(np.array(position), stamp=stamp, received=received)
    return watch.alarm(messages[-1][2] + 0.01)


def test_names_that_are_exchanged_are_told_once(watch):
    told = took(watch, ((0.0, 0.2), 0, 1.0), ((0.2, 0.0), 0, 1.002))
    assert told in (
        "joint 'shoulder' jumped by +0.20 rad in 2 ms",
        "joint 'elbow' jumped by -0.20 rad in 2 ms",
    )
    assert took(watch, ((0.2, 0.0), 0, 1.004)) == ""


def test_a_jump_of_long_ago_is_no_reason(watch):
    watch.take(np.zeros(2), stamp=0.0, received=1.0)
    watch.take(np.ones(2), stamp=0.0, received=1.002)
    assert watch.alarm(2.0) == ""
    assert watch.alarm(1.01) == ""  # told, and forgotten


def test_a_jump_in_a_reading_that_took_long_or_while_the_loop_stood_still_is_told(watch):
    watch.take(np.zeros(2), stamp=0.0, received=1.0)
    assert watch.alarm(1.0) == ""
    watch.take(np.ones(2), stamp=0.0, received=1.01)
    assert "jumped" in watch.alarm(1.4)  # asked for the first time since


def test_after_a_silence_a_joint_may_be_elsewhere(watch):
    assert took(watch, ((0.0, 0.0), 0, 1.0), ((0.3, 0.1), 0, 1.1)) == ""
    assert "'elbow'" in took(watch, ((0.3, 0.5), 0, 1.2))


def test_messages_of_a_burst_are_apart_by_their_stamps(watch):
    assert took(watch, ((0.0, 0.0), 5.0, 1.0), ((0.3, 0.0), 5.2, 1.0)) == ""
    assert took(watch, ((0.6, 0.0), 0, 1.0)) != ""  # nothing says that time has passed


def test_a_clock_that_goes_back_allows_nothing_more_or_less(watch):
    assert took(watch, ((0.0, 0.0), 5.0, 1.0), ((0.004, 0.0), 1.0, 1.002)) == ""
    assert took(watch, ((0.2, 0.0), 0.5, 1.004)) != ""


@given(
    moves=st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(1e-4, 0.2)), max_size=20),
    noise=st.floats(0, 0.02),
)
def test_an_arm_within_its_speed_is_never_told(moves, noise):
    watch, where, time = JumpWatch(("a", "b"), VELOCITY, bound=0.05), np.zeros(2), 1.0
    for i, (*speeds, elapsed) in enumerate(moves):
        where = where + np.array(speeds) * VELOCITY * elapsed
        time += elapsed
        watch.take(where + noise * (-1) ** i, stamp=0.0, received=time)
        assert watch.alarm(time) == ""
