"""Labels of stages and progress."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.rewards.labels import label, progress_of, stage_shares, steady, within_stage


def test_shares_are_mean_shares_of_time_over_successes():
    whole = [np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1])]
    np.testing.assert_allclose(stage_shares(whole, 2), (0.5, 0.5))
    stuck = [np.zeros(50, int)]
    np.testing.assert_allclose(stage_shares([*whole, *stuck], 2), (0.5, 0.5))


def test_frames_after_success_do_not_count():
    np.testing.assert_allclose(stage_shares([np.array([0, 1, 2, 2, 2, 2])], 2), (0.5, 0.5))


def test_a_stage_that_was_passed_within_a_frame_still_has_a_share():
    shares = stage_shares([np.array([0, 0, 0, 0, 2, 2, 2, 2])], 3)
    assert 0 < shares[1] < 0.1
    assert shares.sum() == pytest.approx(1)


def test_a_dataset_without_stages_is_refused():
    with pytest.raises(UserError, match="annotate"):
        stage_shares([np.full(4, 2)], 2)


def test_progress_falls_back_with_the_stage():
    labels = label(
        np.array([0, 0, 1, 1, 0, 0]), shares=np.array([0.5, 0.5]), within=np.array([0, 0.5, 0, 0.9, 0.1, 0.2])
    )
    np.testing.assert_allclose(labels.progress, (0, 0.25, 0.5, 0.95, 0.05, 0.1))


def test_without_a_simulator_progress_is_linear_in_each_run_of_a_stage():
    labels = label(np.array([0, 0, 0, 0, 1, 1, 0, 0]), shares=np.array([0.5, 0.5]))
    np.testing.assert_allclose(labels.tau, (0, 0.25, 0.5, 0.75, 0, 0.5, 0, 0.5))


def test_all_done_is_progress_one():
    labels = label(np.array([1, 2, 2]), shares=np.array([0.3, 0.7]), within=np.array([1.0, 0.4, 0.0]))
    np.testing.assert_allclose(labels.progress, (1, 1, 1))
    np.testing.assert_allclose(labels.tau, (1, 0, 0))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=20),
    st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
    st.floats(0, 1),
)
def test_progress_never_decreases_in_stage_and_tau(stages, raw, tau):
    shares = np.array(raw) / np.sum(raw)
    stage = np.sort(np.array(stages))
    progress = progress_of(stage, np.where(stage < 3, tau, 0.0), shares)
    assert (np.diff(progress) >= -1e-12).all()
    assert ((progress >= 0) & (progress <= 1 + 1e-12)).all()


def test_within_stage_undoes_the_simulators_progress():
    stage, within = np.array([0, 1, 2, 3]), np.array([0.2, 0.9, 0.5, 0.0])
    np.testing.assert_allclose(within_stage((stage + within) / 3, stage, 3), within)


def test_flicker_counts_as_the_stage_before():
    flicker = np.array([1, 0, 0, 0, 2, 0, 0, 0, 1, 2, 2, 2, 1, 1, 0])
    np.testing.assert_array_equal(steady(flicker, 3), [0] * 9 + [2] * 5 + [0])
    np.testing.assert_array_equal(steady(flicker, 1), flicker)
    np.testing.assert_array_equal(steady(np.array([0, 1, 2]), 5), [2, 2, 2])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 6))
def test_steady_stages_last(stages, shortest):
    stage = np.array(stages)
    found = steady(stage, shortest)
    lengths = np.diff(np.concatenate(([0], np.flatnonzero(np.diff(found)) + 1, [len(found)])))
    assert (lengths[:-1] >= shortest).all()
    assert found[-1] == stage[-1]
    np.testing.assert_array_equal(steady(found, shortest), found)
