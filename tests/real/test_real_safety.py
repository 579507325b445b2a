import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.real.safety import Limits, SafetyFilter
from robolearn.real.stopping import brake, largest_first, rest

DT = 0.004


def limits_with(jerk):
    """Limits of two joints and a gripper, with jerks [3]."""
    return Limits(
        lower=np.array((-1.0, -0.5, 0.0)),
        upper=np.array((1.0, 2.0, 0.08)),
        velocity=np.array((2.0, 1.0, 0.2)),
        acceleration=np.array((10.0, 7.5, 100.0)),
        jerk=np.array(jerk),
        period=DT,
    )


# from full acceleration to full deceleration in one period, in 5, and in 50
LOOSE, FIRM, SOFT = (limits_with(jerk) for jerk in ((5e3, 3.75e3, 5e4), (1e3, 7.5e2, 1e4), (1e2, 7.5e1, 1e3)))
each = pytest.mark.parametrize("limits", [LOOSE, FIRM, SOFT], ids=["loose", "firm", "soft"])
anything = st.floats(allow_nan=True, allow_infinity=True, width=64)
targets = st.lists(st.tuples(anything, anything, anything), min_size=1, max_size=30)
near = st.floats(-3, 3)
near_targets = st.lists(st.tuples(near, near, near, st.integers(1, 60)), min_size=1, max_size=8)
begins = st.tuples(st.floats(-1, 1), st.floats(-0.5, 2), st.floats(0, 0.08))


def run(limits, commands, start=(0.0, 0.0, 0.04)):
    filtered = SafetyFilter(limits)
    filtered.reset(np.array(start))
    return filtered, np.stack([filtered.position, *(filtered.follow(np.array(c)) for c in commands)])


def require_smooth(limits, path):
    """Velocity, acceleration and jerk of a path that begins at rest."""
    assert np.isfinite(path).all()
    velocity = np.diff(path, axis=0, prepend=path[:1]) / DT
    acceleration = np.diff(velocity, axis=0, prepend=velocity[:1]) / DT
    jerk = np.diff(acceleration, axis=0) / DT
    assert (np.abs(velocity) <= limits.velocity * (1 + 1e-9)).all()
    assert (np.abs(acceleration) <= limits.acceleration * (1 + 1e-9) + 1e-7).all()
    assert (np.abs(jerk) <= limits.jerk * (1 + 1e-9) + 1e-5).all()


def require_within(limits, path):
    assert (path >= limits.lower).all()
    assert (path <= limits.upper).all()
    require_smooth(limits, path)


@each
@given(targets)
def test_any_target_stays_within_limits(limits, commands):
    require_within(limits, run(limits, commands)[1])


@each
@settings(max_examples=60)
@given(near_targets, begins)
def test_jumping_targets_stay_within_limits_however_long_they_last(limits, jumps, start):
    commands = [target for *target, count in jumps for _ in range(count)]
    require_within(limits, run(limits, commands, start)[1])


@each
@given(st.lists(st.sampled_from((-1.0, 1.0)), min_size=3, max_size=3), st.lists(st.integers(1, 90), min_size=1))
def test_whoever_wants_to_break_the_limits_at_the_last_moment_does_not(limits, signs, lasts):
    """From end to end, turning round at the worst times: full speed, full acceleration, or in the midst of braking."""
    signs, commands = np.array(signs), []
    for k, last in enumerate(lasts[:8]):
        commands += [10 * signs * (-1) ** k] * last
    require_within(limits, run(limits, commands)[1])


@each
@given(near_targets, st.integers(1, 120))
def test_braking_stops_within_limits(limits, jumps, periods):
    filtered, path = run(limits, [target for *target, count in jumps for _ in range(count)])
    stop = np.stack([filtered.brake() for _ in range(periods)])
    require_within(limits, np.concatenate((path, stop)))


@each
def test_braking_ends_at_rest_where_it_was_foreseen(limits):
    filtered, _ = run(limits, [(1.0, 2.0, 0.08)] * 40)
    assert not filtered.at_rest
    foreseen = filtered.rest
    for _ in range(250):
        filtered.brake()
    assert filtered.at_rest
    np.testing.assert_allclose(filtered.position, foreseen, atol=1e-12)


@each
def test_joints_stop_together_along_the_line_on_which_they_move(limits):
    # the second joint is nearly as fast as it may be: the first could stop in a fraction of its time
    filtered, _ = run(limits, [(0.1 * k * DT, 0.9 * k * DT, 0.04) for k in range(1, 300)])
    begin, path = filtered.position, []
    while not filtered.at_rest:
        path.append(filtered.brake())
    way = np.stack(path) - begin
    off = way[:, 0] - way[:, 1] * way[-1, 0] / way[-1, 1]
    assert np.abs(off).max() < 0.25 * way[-1, 0]  # each for itself it would be 0.9; what is left is the jerk
    alone = rest(0.9 * DT, 0.0, limits.acceleration[1] * DT**2, limits.jerk[1] * DT**3)
    assert len(path) <= 1.15 * alone[4] + 2  # and no later than the slowest one alone


@each
def test_a_motion_within_limits_passes_unchanged(limits):
    # (1 - cos) has its largest acceleration at rest: it begins with a jump of it
    time = np.arange(1, 2000) * DT
    wave = 0.2 * np.sin(0.5 * time) ** 4  # at rest up to its third derivative
    slope = np.cumsum(np.minimum(np.cumsum(np.minimum(np.arange(len(time)) * 20.0 * DT, 1.0)) * DT, 0.2) * DT)
    commands = np.stack((wave, -0.4 * wave + 0.1 * slope, 0.04 + 0.1 * wave), axis=1)
    filtered, path = run(limits, commands)
    np.testing.assert_allclose(path[1:], commands, atol=1e-9)
    assert filtered.limited == 0


def test_a_slow_ramp_is_followed_exactly():
    # speeds up within the acceleration limit, then stays at constant velocity
    speed = np.minimum(np.arange(100) * 5.0 * DT, 0.8)
    ramp = np.cumsum(speed * DT)
    commands = np.stack((ramp, -0.4 * ramp, 0.04 + 0.05 * ramp), axis=1)
    filtered, path = run(LOOSE, commands)
    np.testing.assert_allclose(path[1:], commands, atol=1e-12)
    assert filtered.limited == 0


@each
def test_a_jump_is_reached_without_overshoot(limits):
    filtered, path = run(limits, [(0.5, 1.0, 0.0)] * 600)
    np.testing.assert_allclose(path[-1], (0.5, 1.0, 0.0), atol=1e-9)
    assert path[:, :2].max(axis=0) == pytest.approx((0.5, 1.0), abs=1e-9)
    assert filtered.limited > 0


@each
def test_a_target_that_moves_on_is_caught_up_with(limits):
    """From a jump behind it to following it exactly, with its own velocity."""
    ramp = 0.3 + 0.2 * DT * np.arange(1, 800)
    commands = np.stack((ramp, ramp, np.full(len(ramp), 0.04)), axis=1)
    _, path = run(limits, commands)
    np.testing.assert_allclose(path[-50:], commands[-50:], atol=1e-9)


@each
def test_the_way_to_an_end_is_as_fast_as_the_limits_allow(limits):
    """A conservative filter would be safe too, but slow: the best time with trapezoids of acceleration is no more."""
    distance, v, a, j = 1.0, limits.velocity[0], limits.acceleration[0], limits.jerk[0]
    _, path = run(limits, [(5.0, 0.0, 0.04)] * 1000)
    arrived = int(np.argmax(path[:, 0] >= limits.upper[0] - 1e-6)) * DT
    assert arrived <= distance / v + v / a + a / j + 6 * DT


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_target_that_is_not_finite_is_rejected(bad):
    filtered, path = run(LOOSE, [(0.1, bad, 0.04)])
    assert filtered.rejected == 1
    np.testing.assert_allclose(path[-1], path[0])


@each
@settings(max_examples=30)
@given(st.lists(st.floats(-0.05, 0.05), min_size=3, max_size=3), st.sampled_from(("lower", "upper")), near_targets)
def test_what_begins_outside_comes_in_within_the_limits_of_motion(limits, outside, bound, jumps):
    begin = getattr(limits, bound) + np.array(outside)
    commands = [target for *target, count in jumps for _ in range(count)]
    _, path = run(limits, [*commands, *[(0.0, 0.0, 0.04)] * 1500], begin)
    np.testing.assert_array_equal(path[0], begin)
    require_smooth(limits, path)
    assert (path >= np.minimum(limits.lower, begin)).all()
    assert (path <= np.maximum(limits.upper, begin)).all()
    np.testing.assert_allclose(path[-1], (0.0, 0.0, 0.04), atol=1e-9)


def test_what_has_come_in_does_not_get_out_again():
    filtered, _ = run(FIRM, [(0.0, 0.0, 0.04)] * 500, (1.04, -0.54, 0.085))
    path = np.stack([filtered.follow(np.array((5.0, -5.0, 1.0))) for _ in range(800)])
    assert (path >= FIRM.lower).all()
    assert (path <= FIRM.upper).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_no_place_to_begin(bad):
    with pytest.raises(ValueError, match="not finite"):
        SafetyFilter(LOOSE).reset(np.array((0.0, 0.0, bad)))


def test_limits_must_be_finite_and_ordered():
    fine = {
        "lower": np.zeros(1),
        "upper": np.ones(1),
        "velocity": np.ones(1),
        "acceleration": np.ones(1),
        "jerk": np.ones(1),
        "period": 0.1,
    }
    with pytest.raises(UserError, match="finite"):
        Limits(**{**fine, "upper": np.array((np.inf,))})
    with pytest.raises(UserError, match="lower < upper"):
        Limits(**{**fine, "upper": np.zeros(1)})
    with pytest.raises(UserError, match="positive"):
        Limits(**{**fine, "velocity": np.zeros(1)})


@given(st.floats(0, 10), st.floats(1e-4, 10))
def test_the_strongest_beginning_of_a_ramp_uses_the_whole_of_it(total, decrease):
    first = largest_first(total, decrease)
    steps = np.arange(np.ceil(first / decrease) + 1)
    assert np.maximum(first - steps * decrease, 0).sum() == pytest.approx(total, rel=1e-6, abs=1e-12)


@given(st.floats(-2, 2), st.floats(-1, 1), st.floats(0.001, 2.0))
def test_braking_comes_to_rest_and_is_what_was_played(v, share, jerk):
    a, acceleration = share, 1.0
    low, high, end, speed, steps = rest(v, a, acceleration, jerk)
    p, places, speeds = 0.0, [0.0], [abs(v)]
    while v or a:
        following = brake(v, a, acceleration, jerk)
        assert abs(following) <= acceleration
        assert abs(following - a) <= jerk * (1 + 1e-12)
        a = following
        v += a
        p += v
        places.append(p)
        speeds.append(abs(v))
    assert (low, high, end, speed, steps) == (min(places), max(places), p, max(speeds), len(places) - 1)
