import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.real.safety import Limits, SafetyFilter, largest_stoppable

DT = 0.004
LIMITS = Limits(
    lower=np.array((-1.0, -0.5, 0.0)),
    upper=np.array((1.0, 2.0, 0.08)),
    velocity=np.array((2.0, 1.0, 0.2)),
    acceleration=np.array((10.0, 7.5, 100.0)),
    period=DT,
)
anything = st.floats(allow_nan=True, allow_infinity=True, width=64)
targets = st.lists(st.tuples(anything, anything, anything), min_size=1, max_size=30)
near = st.floats(-3, 3)
near_targets = st.lists(st.tuples(near, near, near, st.integers(1, 60)), min_size=1, max_size=8)


def run(commands, start=(0.0, 0.0, 0.04)):
    filtered = SafetyFilter(LIMITS)
    filtered.reset(np.array(start))
    return filtered, np.stack([filtered.position, *(filtered.follow(np.array(c)) for c in commands)])


def require_within(path):
    assert np.isfinite(path).all()
    assert (path >= LIMITS.lower).all()
    assert (path <= LIMITS.upper).all()
    velocity = np.diff(path, axis=0, prepend=path[:1]) / DT
    assert (np.abs(velocity) <= LIMITS.velocity + 1e-9).all()
    acceleration = np.diff(velocity, axis=0) / DT
    assert (np.abs(acceleration) <= LIMITS.acceleration * (1 + 1e-9) + 1e-7).all()


@given(targets)
def test_any_target_stays_within_limits(commands):
    require_within(run(commands)[1])


@settings(max_examples=60)
@given(near_targets)
def test_jumping_targets_stay_within_limits_however_long_they_last(jumps):
    commands = [target for *target, count in jumps for _ in range(count)]
    require_within(run(commands)[1])


@given(targets, st.integers(1, 40))
def test_braking_stops_within_limits(commands, periods):
    filtered, path = run(commands)
    stop = np.stack([filtered.brake() for _ in range(periods)])
    require_within(np.concatenate((path, stop)))


def test_braking_ends_at_rest():
    filtered, _ = run([(1.0, 2.0, 0.08)] * 40)
    assert not filtered.at_rest
    for _ in range(60):
        filtered.brake()
    assert filtered.at_rest


def test_a_slow_ramp_is_followed_exactly():
    # speeds up within the acceleration limit, then stays at constant velocity
    speed = np.minimum(np.arange(100) * 5.0 * DT, 0.8)
    ramp = np.cumsum(speed * DT)
    commands = np.stack((ramp, -0.4 * ramp, 0.04 + 0.05 * ramp), axis=1)
    filtered, path = run(commands)
    np.testing.assert_allclose(path[1:], commands, atol=1e-12)
    assert filtered.limited == 0


def test_a_jump_is_reached_without_overshoot():
    filtered, path = run([(0.5, 1.0, 0.0)] * 400)
    np.testing.assert_allclose(path[-1], (0.5, 1.0, 0.0), atol=1e-9)
    assert path[:, 0].max() <= 0.5 + 1e-9
    assert filtered.limited > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_target_that_is_not_finite_is_rejected(bad):
    filtered, path = run([(0.1, bad, 0.04)])
    assert filtered.rejected == 1
    np.testing.assert_allclose(path[-1], path[0])


@settings(max_examples=30)
@given(st.lists(st.floats(-0.05, 0.05), min_size=3, max_size=3), st.sampled_from(("lower", "upper")), targets)
def test_what_begins_outside_comes_in_within_the_limits_of_motion(outside, bound, commands):
    begin = getattr(LIMITS, bound) + np.array(outside)
    _, path = run([*commands, *[(0.0, 0.0, 0.04)] * 750], begin)
    np.testing.assert_array_equal(path[0], begin)
    velocity = np.diff(path, axis=0, prepend=path[:1]) / DT
    assert (np.abs(velocity) <= LIMITS.velocity + 1e-9).all()
    assert (np.abs(np.diff(velocity, axis=0)) / DT <= LIMITS.acceleration * (1 + 1e-9) + 1e-7).all()
    assert (path >= np.minimum(LIMITS.lower, begin)).all()
    assert (path <= np.maximum(LIMITS.upper, begin)).all()
    np.testing.assert_allclose(path[-1], (0.0, 0.0, 0.04), atol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_no_place_to_begin(bad):
    with pytest.raises(ValueError, match="not finite"):
        SafetyFilter(LIMITS).reset(np.array((0.0, 0.0, bad)))


def test_limits_must_be_finite_and_ordered():
    fine = {
        "lower": np.zeros(1),
        "upper": np.ones(1),
        "velocity": np.ones(1),
        "acceleration": np.ones(1),
        "period": 0.1,
    }
    with pytest.raises(UserError, match="finite"):
        Limits(**{**fine, "upper": np.array((np.inf,))})
    with pytest.raises(UserError, match="lower < upper"):
        Limits(**{**fine, "upper": np.zeros(1)})
    with pytest.raises(UserError, match="positive"):
        Limits(**{**fine, "velocity": np.zeros(1)})


@given(st.floats(0, 10), st.floats(0.01, 1000))
def test_largest_stoppable_speed_uses_the_whole_distance(distance, acceleration):
    speed = float(largest_stoppable(np.array(distance), np.array(acceleration), DT))
    steps = np.arange(np.ceil(speed / (acceleration * DT)) + 1)
    travelled = np.maximum(speed - steps * acceleration * DT, 0).sum() * DT
    assert travelled == pytest.approx(distance, rel=1e-6, abs=1e-12)
