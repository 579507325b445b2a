import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.real.smoothness import CAPACITY, CommandLog, joined, smoothness

RATE, PER_STEP = 100.0, 5


def stream(velocities, *, epoch=0, chunk_every=2):
    """Straight ways of `PER_STEP` commands, one per velocity [steps, joints]."""
    moved = np.repeat(np.asarray(velocities, float), PER_STEP, axis=0) / RATE
    steps = np.repeat(np.arange(len(velocities)), PER_STEP)
    marks = np.stack((np.full_like(steps, epoch), steps, steps // chunk_every), axis=1)
    return np.cumsum(moved, axis=0) - moved, marks


def test_jumps_at_boundaries_are_told_from_those_within_chunks():
    # the velocity changes by 0.5 where a chunk begins (steps 2 and 4) and by 0.1 within
    velocity = np.array((0.0, 0.1, 0.6, 0.7, 1.2, 1.3))[:, None] * np.array((0.6, 0.8))
    measured = smoothness(*stream(velocity), rate=RATE)
    # what the last command leads to is not in the stream
    assert measured["boundary_jump"] == {"count": 2, "rms": pytest.approx(0.5), "max": pytest.approx(0.5)}
    assert measured["within_jump"] == {"count": 2, "rms": pytest.approx(0.1), "max": pytest.approx(0.1)}


def test_jerk_is_the_third_difference():
    time = np.arange(200) / RATE
    positions = np.stack((time**3, np.sin(time), 0 * time), axis=1)
    measured = smoothness(positions, np.zeros((200, 3), np.int64), rate=RATE)
    np.testing.assert_allclose(measured["rms_jerk"], (6.0, np.sqrt(np.mean(np.cos(time) ** 2)), 0.0), rtol=0.02)
    assert measured["jerk_samples"] == 197


def test_a_pause_is_no_motion():
    first, second = stream(np.ones((4, 1))), stream(np.ones((4, 1)), epoch=1)
    measured = smoothness(np.concatenate((first[0], 5 + second[0])), np.concatenate((first[1], second[1])), rate=RATE)
    assert measured["rms_jerk"][0] == pytest.approx(0.0, abs=1e-6)
    assert measured["jerk_samples"] == 2 * (4 * PER_STEP - 3)
    counts = [measured[name]["count"] for name in ("boundary_jump", "within_jump")]
    assert counts == [2, 2]
    assert max(measured[name]["max"] for name in ("boundary_jump", "within_jump")) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("n", range(4))
def test_next_to_nothing_can_be_measured(n):
    measured = smoothness(np.zeros((n, 2)), np.zeros((n, 3), np.int64), rate=RATE)
    assert measured["rms_jerk"] is None
    assert measured["boundary_jump"] == {"count": 0, "rms": None, "max": None}
    assert joined([measured, measured]) == measured
    assert joined([]) == measured


@given(st.integers(4, 12), st.integers(4, 12), st.integers(0, 2**32 - 1))
def test_joined_streams_are_measured_as_one(n, m, seed):
    rng = np.random.default_rng(seed)
    first, second = stream(rng.normal(size=(n, 2))), stream(rng.normal(size=(m, 2)), epoch=1)
    both = smoothness(np.concatenate((first[0], second[0])), np.concatenate((first[1], second[1])), rate=RATE)
    parts = joined([smoothness(*first, rate=RATE), smoothness(*second, rate=RATE)])
    assert parts["jerk_samples"] == both["jerk_samples"]
    np.testing.assert_allclose(parts["rms_jerk"], both["rms_jerk"], rtol=1e-5)
    for name in ("boundary_jump", "within_jump"):
        assert parts[name]["count"] == both[name]["count"]
        np.testing.assert_allclose(parts[name]["rms"], both[name]["rms"], rtol=1e-4)


def test_the_log_keeps_the_last_commands_in_order():
    log = CommandLog(2)
    for i in range(CAPACITY + 3):
        log.add(np.array((i, -i, 9.0)), epoch=1, step=i // 5, chunk=i // 10)
    positions, marks = log.read()
    np.testing.assert_array_equal(positions[:, 0], np.arange(3, CAPACITY + 3))
    np.testing.assert_array_equal(marks[-1], (1, (CAPACITY + 2) // 5, (CAPACITY + 2) // 10))
    positions[:] = 0  # a copy
    assert log.read()[0].any()
