"""Metrics and controls of progress estimators."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.rewards.controls import CONTROLS
from robolearn.rewards.metrics import (
    auroc,
    bootstrap,
    calibration_error,
    done_latency,
    false_done,
    spearman,
    threshold_for,
    value_order_correlation,
)

SERIES = st.lists(st.integers(0, 5), min_size=3, max_size=30)


@settings(max_examples=50, deadline=None)
@given(SERIES, st.integers(0, 100))
def test_rank_correlation_is_scipys(values, seed):
    a = np.array(values, float)
    b = np.random.default_rng(seed).integers(0, 4, len(a)).astype(float)
    if np.ptp(a) and np.ptp(b):
        assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic)
    else:
        assert spearman(a, b) == 0.0


@settings(max_examples=50, deadline=None)
@given(SERIES, st.integers(0, 100))
def test_auroc_counts_pairs(values, seed):
    scores = np.array(values, float)
    truth = np.random.default_rng(seed).random(len(scores)) < 0.5
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[truth] for b in scores[~truth]]
    area = auroc(scores, truth)
    assert area == pytest.approx(np.mean(pairs)) if pairs else np.isnan(area)


def test_a_clock_is_in_perfect_order_and_a_still_picture_in_none():
    assert value_order_correlation(np.linspace(0, 1, 50)) == pytest.approx(1.0, abs=1e-3)
    assert value_order_correlation(np.full(50, 0.3)) == 0.0
    assert value_order_correlation(0.3 + np.linspace(0, 0.004, 50)) == 0.0  # a drift that nobody would see
    assert value_order_correlation(np.linspace(0.3449, 0.3451, 50)) == 0.0  # nor where two digits meet


def test_calibration_error_of_a_sure_liar_and_of_an_honest_coin():
    truth = np.arange(100) % 2 == 0
    assert calibration_error(np.where(truth, 0.0, 1.0), truth) == pytest.approx(1.0)
    assert calibration_error(np.full(100, 0.5), truth) == pytest.approx(0.0)


def test_done_may_be_said_two_frames_early_but_not_three():
    truth = np.arange(10) >= 6
    assert not false_done(np.arange(10) >= 4, truth)
    assert false_done(np.arange(10) >= 3, truth)
    assert false_done(np.arange(10) == 2, np.zeros(10, bool))


def test_done_latency_counts_frames_after_the_fact():
    truth = np.arange(10) >= 6
    assert done_latency(np.arange(10) >= 8, truth) == 2
    assert done_latency(np.arange(10) >= 5, truth) == 0
    assert done_latency(np.zeros(10, bool), truth) is None
    assert done_latency(truth, np.zeros(10, bool)) is None


def test_the_threshold_is_the_lowest_that_is_never_wrong():
    scores = [np.array([0.1, 0.62, 0.9]), np.array([0.1, 0.2, 0.7])]
    truths = [np.array([False, False, True]), np.zeros(3, bool)]
    assert 0.70 < threshold_for(scores, truths, false_rate=0.0) <= 0.72
    assert threshold_for(scores, truths, false_rate=1.0) == pytest.approx(0.05)


def test_bootstrap_covers_the_mean():
    mean, low, high = bootstrap(np.random.default_rng(0).normal(1.0, 1.0, 400).tolist())
    assert low < mean < high
    assert 0.15 < high - low < 0.25
    assert all(np.isnan(bootstrap([float("nan")])))


@pytest.mark.parametrize("name", CONTROLS)
@settings(max_examples=30, deadline=None)
@given(length=st.integers(8, 200), seed=st.integers(0, 1000))
def test_controls_show_frames_of_the_episode(name, length, seed):
    shown = CONTROLS[name](length, np.random.default_rng(seed))
    assert shown.dtype == np.int64
    assert ((shown >= 0) & (shown < length)).all()
    assert len(shown) >= 2


def test_a_warped_film_never_turns_round_and_a_rewound_one_does():
    rng = np.random.default_rng(0)
    assert (np.diff(CONTROLS["warped"](100, rng)) >= 0).all()
    assert (np.diff(CONTROLS["rewound"](100, rng)) < 0).any()
    assert (np.diff(CONTROLS["reversed"](100, rng)) == -1).all()
