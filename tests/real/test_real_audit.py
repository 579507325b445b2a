"""The independent look at commands."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.real.audit import KINDS, MARGIN, Recording, audit
from robolearn.real.safety import Limits, SafetyFilter
from robolearn.real.workspace import Workspace
from robolearn.sim.robots import get_robot

RATE = 250.0
ROBOT = get_robot("panda")
HOME = np.array((*ROBOT.home, 0.04))


def audited(commands, *, times=None, measured=HOME[:-1], robot=ROBOT):
    times = np.arange(len(commands)) / RATE if times is None else times
    where = np.tile(measured, (len(commands), 1))
    return audit(robot, Recording(np.asarray(times, float), np.asarray(commands, float), where), rate=RATE)


def moving(velocities):
    """Commands of the first joint from home, at these velocities."""
    way = np.cumsum(np.asarray(velocities)) / RATE
    return np.concatenate((HOME[None], HOME + np.outer(way, np.eye(8)[0])))


def ramp(top, acceleration):
    return np.arange(acceleration / RATE, top, acceleration / RATE)


def test_smooth_motion_within_limits_is_fine():
    up = ramp(1.0, 10.0)
    found = audited(moving((*up, *up[::-1])))
    assert found.total == 0, found.first_violation
    assert found.worst["acceleration"] == pytest.approx(10.0 / ROBOT.max_acceleration[0], rel=0.05)
    assert found.commands == 2 * len(up) + 1


@pytest.mark.parametrize("kind", ["velocity", "acceleration"])
def test_what_is_too_fast_is_found(kind):
    fast, slow = 1.1 * ROBOT.max_velocity[0], 0.9 * ROBOT.max_acceleration[0]
    up = ramp(fast, slow) if kind == "velocity" else ramp(1.0, 1.1 * ROBOT.max_acceleration[0])
    found = audited(moving(up))
    assert found.violations[kind] > 0
    assert found.worst[kind] > 1.0
    assert sum(found.violations[other] for other in KINDS if other != kind) == 0
    assert kind in found.first_violation


def test_a_position_beyond_the_end_is_found_and_coming_back_is_not():
    beyond = HOME.copy()
    beyond[0] = ROBOT.upper[0] + 0.01
    step = np.eye(8)[0] * 1e-4
    out = audited([beyond, beyond + step], measured=beyond[:-1])
    assert out.violations["position"] == 1
    assert audited([beyond, beyond - step], measured=beyond[:-1]).total == 0


def test_a_jerk_is_found_though_acceleration_stays_within_its_limit():
    sudden = moving((0, 0, 0, *ramp(1.0, 0.9 * ROBOT.max_acceleration[0])))
    assert audited(sudden).total == 0  # within one period it may rise so far
    gentle = replace(ROBOT, max_jerk=tuple(0.1 * jerk for jerk in ROBOT.jerk_limits))
    found = audited(sudden, robot=gentle)
    assert found.violations["jerk"] == found.total == 1
    rise = 0.9 * ROBOT.max_acceleration[0] * RATE
    assert found.worst["jerk"] == pytest.approx(rise / gentle.jerk_limits[0], rel=0.01)


def test_a_tool_that_leaves_its_box_is_found_and_coming_back_is_not():
    leaning = HOME + np.arange(350)[:, None] * np.eye(8)[1] * 2e-3  # from the shoulder, until below the table
    below = ROBOT.chain.forward(leaning[:, :-1]).tool_pos[:, 2] < ROBOT.workspace[0][2] - MARGIN
    assert 0 < below.sum() < 100
    assert audited(leaning).violations["box"] == below.sum()
    assert audited(leaning[::-1]).violations["box"] == 0


def test_first_commands_are_judged_too():
    arm = HOME.copy()
    arm[0] = ROBOT.upper[0] - 0.005
    beyond = arm + np.eye(8)[0] * 0.045
    assert audited([beyond] * 5, measured=arm[:-1]).violations["position"] == 1
    wide = HOME.copy()
    wide[-1] = 0.5
    assert audited([wide] * 5).violations["position"] == 1
    elsewhere = [HOME, HOME + np.eye(8)[0] * 0.049]
    assert audited(elsewhere, times=[0.0, 0.046]).violations["start"] == 1


def test_after_a_silence_commands_may_go_on_while_the_arm_is_still_on_its_way():
    found = audited([HOME, HOME], times=[0.0, 0.5], measured=HOME[:-1] + 0.1 * np.eye(7)[0])
    assert found.violations["start"] == 1  # the first of all, of which nothing is known
    assert found.segments == 2


def test_what_is_no_number_is_found():
    assert audited([HOME, np.full(8, np.nan)]).violations["finite"] == 1
    assert audited([np.full(8, np.nan)]).violations["finite"] == 1


def test_a_loop_that_stood_still_and_goes_on_finds_nothing():
    commands = moving(ramp(1.0, 10.0))
    times = np.arange(len(commands)) / RATE
    times[12:] += 2.5 / RATE
    assert audited(commands, times=times).total == 0


def test_from_rest_commands_may_begin_anew_where_the_arm_is():
    sagged = HOME + np.eye(8)[1] * 0.03
    commands = [HOME, HOME, HOME, sagged, sagged]
    assert audited(commands, measured=sagged[:-1]).total == 0
    assert audited(commands, measured=HOME[:-1]).violations["acceleration"] > 0
    assert audited([*moving([0.1, 0.1]), sagged], measured=sagged[:-1]).violations["acceleration"] > 0  # not from rest


def test_without_commands_there_is_nothing_to_find():
    found = audited(np.empty((0, 8)))
    assert (found.total, found.commands, found.segments, found.last_command) == (0, 0, 0, None)


def test_commands_begin_where_the_arm_is():
    assert audited([HOME]).total == 0
    assert audited([HOME + 0.1]).violations["start"] == 1


def test_a_pause_begins_anew():
    elsewhere = HOME + np.eye(8)[0] * 0.2
    assert audited([HOME, elsewhere], times=[0.0, 1.0]).violations["acceleration"] == 0
    assert audited([HOME, elsewhere], times=[0.0, 1.0]).segments == 2
    assert audited([HOME, elsewhere], times=[0.0, 0.02]).violations["acceleration"] == 1


def test_an_observer_that_was_asleep_finds_nothing_new():
    up = ramp(1.0, 10.0)
    commands = moving((*up, *up[::-1]))
    times = np.arange(len(commands)) / RATE
    times[20:40] = times[40]  # twenty at once, after twenty periods
    found = audited(commands, times=times, measured=HOME[:-1])
    assert (found.total, found.segments) == (0, 1), found.first_violation


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), lost=st.floats(0, 0.2), jitter=st.floats(0, 0.6))
def test_the_filter_s_commands_are_fine_also_when_messages_are_late_or_lost(seed, lost, jitter):
    rng = np.random.default_rng(seed)
    kept = SafetyFilter(Limits.of(ROBOT, period=1 / RATE), box=Workspace(ROBOT, margin=MARGIN))
    kept.reset(HOME)
    low, high = np.array((*ROBOT.lower, 0.0)), np.array((*ROBOT.upper, ROBOT.gripper_width))
    commands, target = [], HOME
    for k in range(150):
        if k % 40 == 0:
            target = rng.uniform(low - 0.5, high + 0.5)
        commands.append(kept.follow(target).copy())
    times = np.arange(150) / RATE + rng.uniform(0, jitter / RATE, 150)
    received = rng.random(150) >= lost
    found = audited(np.stack(commands)[received], times=times[received], measured=HOME[:-1])
    assert found.total == 0, found.first_violation


def test_limits_are_the_robot_s():
    slow = replace(ROBOT, max_velocity=tuple(0.1 * v for v in ROBOT.max_velocity))
    assert audited(moving(ramp(1.0, 10.0)), robot=slow).violations["velocity"] > 0
