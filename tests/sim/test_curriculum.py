"""The adaptive curriculum: down with success, up with collapse, never out of [0, 1]."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robolearn.sim.curriculum import Curriculum


def feed(curriculum, success, n):
    curriculum.record(np.full(n, curriculum.level), np.full(n, success))


def test_success_lowers_the_level_and_begins_a_new_count():
    curriculum = Curriculum(step=0.1, window=10)
    feed(curriculum, True, 9)
    assert curriculum.level == 1.0
    feed(curriculum, True, 1)
    assert curriculum.level == 0.9
    assert curriculum.success_rate == 0.0
    feed(curriculum, True, 9)
    assert curriculum.level == 0.9


def test_collapse_raises_it_again_but_never_above_one():
    curriculum = Curriculum(level=0.5, step=0.1, window=10)
    feed(curriculum, False, 10)
    assert curriculum.level == 0.6
    for _ in range(20):
        feed(curriculum, False, 10)
    assert curriculum.level == 1.0


def test_what_happened_at_other_levels_does_not_count():
    curriculum = Curriculum(step=0.1, window=10)
    curriculum.record(np.zeros(100), np.ones(100, bool))
    assert curriculum.level == 1.0


def test_the_plain_world_is_the_end():
    curriculum = Curriculum(level=0.05, step=0.1, window=5)
    for success in (True, False, False, False):
        feed(curriculum, success, 5)
    assert curriculum.level == 0.0


def test_a_share_of_the_episodes_is_spread_over_the_levels_below():
    levels = Curriculum(level=0.8, below_share=0.25).draw(np.random.default_rng(0), 4000)
    below = levels[levels < 0.8]
    assert levels.max() == 0.8
    assert abs(len(below) / len(levels) - 0.25) < 0.03
    assert abs((below < 0.2).mean() - 0.25) < 0.05


@given(st.lists(st.booleans(), max_size=300), st.floats(0, 1))
def test_the_level_stays_in_range_and_survives_a_restart(outcomes, level):
    curriculum, other = (Curriculum(level=level, window=7) for _ in range(2))
    for k, outcome in enumerate(outcomes):
        for one in (curriculum, other):
            feed(one, outcome, 1)
        assert 0.0 <= curriculum.level <= 1.0
        if k % 5 == 0:
            resumed = Curriculum(window=7)
            resumed.restore(other.state())
            other = resumed
    assert other.level == curriculum.level
    assert other.success_rate == curriculum.success_rate
