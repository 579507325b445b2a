"""How an arm gathers way after a start or a hold; in virtual time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_real_controller import PERIOD, ROBOT, Bench, require_within_limits

from robolearn.errors import UserError
from robolearn.real.settings import Settings
from robolearn.real.starting import eased
from robolearn.real.state_machine import State


def test_a_ramp_lets_the_arm_gather_way_and_then_go_as_fast_as_ever():
    tools, speeds = {}, {}
    for ramp in (0.0, 0.5):
        bench = Bench(ramp=ramp).start().run(250)
        require_within_limits(bench.arm.sent)
        path = np.array([ROBOT.chain.forward(position[:-1]).tool_pos[0] for position in bench.arm.sent])
        tools[ramp], speeds[ramp] = path, np.diff(path) / PERIOD
    early, late = slice(0, 36), slice(200, 240)  # 0.14 s: a fifth of the ramp's steps are made by then
    assert np.ptp(tools[0.5][early]) < 0.1 * np.ptp(tools[0.0][early])
    np.testing.assert_allclose(speeds[0.5][late].mean(), speeds[0.0][late].mean(), rtol=0.1)  # it is elsewhere
    assert (np.diff(tools[0.5]) >= -1e-9).all()


@given(st.floats(0.0, 2.0), st.floats(0.0, 2.0), st.floats(1e-3, 1.0))
def test_a_ramp_never_goes_beyond_the_goal_nor_back(first, second, ramp):
    start, goal = np.array((0.0, 0.3)), np.array((1.0, 0.0))
    (a, b) = (eased(start, goal, elapsed=t, ramp=ramp) for t in sorted((first, second)))
    assert 0.0 <= a[0] <= b[0] <= 1.0
    assert 0.3 >= a[1] >= b[1] >= 0.0
    np.testing.assert_array_equal(eased(start, goal, elapsed=ramp, ramp=ramp), goal)
    np.testing.assert_array_equal(eased(start, goal, elapsed=0.0, ramp=ramp), start)


def test_after_a_hold_the_ramp_begins_again():
    bench = Bench(ramp=0.5).start().run(200)
    fast = np.abs(np.diff(np.stack(bench.arm.sent[-20:]), axis=0)).max()
    bench.arm.old = 1.0
    bench.run(100)
    assert bench.state is State.HOLD
    bench.arm.old = 0.0
    bench.run(30)
    assert bench.state is State.ACTIVE
    assert np.abs(np.diff(np.stack(bench.arm.sent[-20:]), axis=0)).max() < 0.3 * fast


@pytest.mark.parametrize("ramp", [-0.1, np.nan, np.inf])
def test_a_ramp_is_a_time(ramp):
    with pytest.raises(UserError, match="ramp"):
        Settings(ramp=ramp)
