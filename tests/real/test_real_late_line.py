"""Messages that come late, irregularly or not at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.real.late_line import Line


def line(*, latency=0.0, jitter=0.0, loss=0.0):
    return Line(latency=latency, jitter=jitter, loss=loss, rng=np.random.default_rng(0))


def test_a_perfect_line_delivers_at_once_and_once():
    perfect = line()
    perfect.put("a", 1.0)
    assert perfect.take(1.0) == ["a"]
    assert perfect.take(2.0) == []


def test_what_is_late_comes_when_it_is_due():
    late = line(latency=0.25)
    late.put("a", 1.0)
    late.put("b", 1.125)
    assert late.take(1.2) == []
    assert late.take(1.3) == ["a"]
    assert late.take(1.375) == ["b"]


@given(latency=st.floats(0, 0.1), jitter=st.floats(0, 0.1), gaps=st.lists(st.floats(0, 0.05), min_size=1, max_size=50))
def test_messages_keep_their_order_and_their_bounds(latency, jitter, gaps):
    one = line(latency=latency, jitter=jitter)
    sent = np.cumsum(gaps)
    for number, now in enumerate(sent):
        one.put(number, now)
    arrived = []
    for now in np.arange(0.0, sent[-1] + latency + jitter + 0.01, 0.01):
        for number in one.take(now):
            arrived.append(number)
            assert now >= sent[number] + latency
    assert arrived == list(range(len(gaps)))


def test_messages_are_lost_in_the_share_that_is_asked_for():
    poor = line(loss=0.3)
    for number in range(2000):
        poor.put(number, 0.0)
    assert len(poor.take(0.0)) == pytest.approx(1400, abs=100)


def test_jitter_makes_messages_irregular():
    irregular = line(jitter=0.1)
    for number in range(100):
        irregular.put(number, float(number))
    arrivals = []
    for now in np.arange(0.0, 101.0, 0.001):
        arrivals += [now] * len(irregular.take(now))
    delays = np.array(arrivals) - np.arange(100)
    assert delays.min() < 0.02
    assert 0.08 < delays.max() <= 0.102


def test_what_is_cleared_never_arrives():
    one = line(latency=1.0)
    one.put("a", 0.0)
    one.clear()
    assert one.take(10.0) == []
