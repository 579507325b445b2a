"""Contact, clocks, and an arm that does not do what it is told: each by itself, then in the controller."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_real_controller import FORWARD, HOME, PERIOD, ROBOT, Bench, FakeArm, FakeInference, require_within_limits

from robolearn.errors import UserError
from robolearn.real.clock_watch import ClockWatch
from robolearn.real.contact import MISSING, ContactStop
from robolearn.real.motion_watch import MotionWatch
from robolearn.real.newest import Newest
from robolearn.real.state_machine import Event, State
from robolearn.safety_settings import SafetySettings

NAMES = ("a", "b")
INF = float("inf")

# ------------------------------------------------------------ contact


class Felt:
    """What a driver has said last; ages are 0."""

    effort = wrench = None


def felt(samples, **options):
    """The alarm at the last of samples (time, efforts)."""
    robot = Felt()
    stop = ContactStop(SafetySettings(**options), robot, joint_names=NAMES)
    for now, values in samples:
        robot.effort = np.array(values, float), 0.0
        alarm = stop.alarm(now)
    return alarm


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ([(0.0, (9, 9)), (0.1, (-9, 9))], ""),
        ([(0.0, (11, 0)), (0.06, (12, 0))], "contact: the effort of joint 'a' is 12.0 N m (allowed 10) for 0.06 s"),
        ([(0.0, (0, -11)), (0.06, (0, -12))], "contact: the effort of joint 'b' is 12.0 N m (allowed 10) for 0.06 s"),
        ([(0.0, (11, 0)), (0.04, (11, 0))], ""),  # a moment
        ([(0.0, (11, 0)), (0.04, (9, 0)), (0.06, (11, 0))], ""),  # two moments
        ([(0.0, (np.nan, 0)), (0.06, (np.nan, 0))], "contact: the effort of joint 'a' is nan"),
    ],
)
def test_efforts_beyond_their_limit_for_longer_than_a_moment_are_contact(samples, told):
    alarm = felt(samples, effort_limits=(10.0,), contact_time=0.05)
    assert alarm.startswith(told) if told else alarm == ""


def test_each_joint_may_have_its_limit():
    assert felt([(0.0, (5, 15)), (0.1, (5, 15))], effort_limits=(10.0, 20.0)) == ""
    assert "'b'" in felt([(0.0, (5, 25)), (0.1, (5, 25))], effort_limits=(10.0, 20.0))
    with pytest.raises(UserError, match="3 effort_limits for 2 joints"):
        ContactStop(SafetySettings(effort_limits=(1.0,) * 3), Felt(), joint_names=NAMES)


def test_a_moment_before_nobody_looked_for_long_does_not_count():
    assert felt([(0.0, (11, 0)), (500.0, (11, 0))], effort_limits=(10.0,)) == ""
    assert "for 0.06 s" in felt([(0.0, (11, 0)), (500.0, (11, 0)), (500.06, (11, 0))], effort_limits=(10.0,))


def test_a_limit_without_data_is_no_check_and_therefore_an_alarm():
    robot = Felt()
    stop = ContactStop(SafetySettings(effort_limits=(10.0,), torque_limit=2.0), robot, joint_names=NAMES)
    assert "no joint effort comes" in stop.alarm(0.0)
    robot.effort = np.zeros(2), 0.0
    assert "no wrench comes" in stop.alarm(0.0)
    robot.wrench = np.zeros(6), 0.0
    assert stop.alarm(0.0) == ""
    robot.effort = np.zeros(2), MISSING + 0.01
    assert "no joint effort comes" in stop.alarm(0.0)
    numb = ContactStop(SafetySettings(force_limit=1.0), None, joint_names=NAMES)
    assert "no wrench comes" in numb.alarm(0.0)


def test_force_and_torque_count_apart_by_their_lengths_and_an_infinite_limit_never():
    robot = Felt()
    stop = ContactStop(SafetySettings(force_limit=30.0), robot, joint_names=NAMES)
    for now, wrench, told in (
        (0.0, (20, 0, 20, 1e6, 0, 0), ""),
        (0.1, (20, 0, 20, 1e6, 0, 0), ""),
        (0.2, (20, 15, 20, 0, 0, 0), ""),
        (0.3, (20, 15, 20, 0, 0, 0), "the measured force is 32.0 N"),
    ):
        robot.wrench = np.array(wrench, float), 0.0
        alarm = stop.alarm(now)
        assert told in alarm if told else alarm == ""


def test_what_was_felt_before_counts_from_then_on():
    robot = Felt()
    stop = ContactStop(SafetySettings(effort_limits=(10.0,)), robot, joint_names=NAMES)
    for now, age in ((1.0, 0.1), (1.02, 0.12), (1.1, 0.2)):  # one and the same sample
        robot.effort = np.array((11.0, 0.0)), age
        assert stop.alarm(now) == ""
    robot.effort = np.array((11.0, 0.0)), 0.0
    assert "for 0.25 s" in stop.alarm(1.15)


def test_without_limits_nothing_is_felt():
    assert ContactStop(SafetySettings(), Felt(), joint_names=NAMES).alarm(0.0) == ""


# ------------------------------------------------------------ clocks


def watched(pairs, bound=0.2):
    """All alarms after messages (stamp, received)."""
    watch = ClockWatch("the driver's", bound=bound)
    told = []
    for stamp, received in pairs:
        watch.take(stamp, received)
        told.append(watch.alarm(received))
    return [alarm for alarm in told if alarm]


def test_a_clock_that_jumps_is_told_once():
    times = np.arange(200) * 0.01
    forwards = [(1000 + t + 0.5 * (t > 1.5), t) for t in times]
    assert watched(forwards) == ["the driver's clock jumped by +0.50 s"]
    backwards = [(1000 + t - 0.5 * (t > 0.5), t) for t in times]
    assert watched(backwards) == ["the driver's clock jumped by -0.49 s"]


@given(st.lists(st.floats(0, 3), min_size=1, max_size=50), st.floats(-1e6, 1e9), st.integers(0, 99))
def test_no_delay_is_a_jump(delays, offset, seed):
    """Once a message was punctual: in whatever order delays come, as long as messages do not overtake each other."""
    made = 0.05 * np.cumsum(np.random.default_rng(seed).integers(1, 8, len(delays)))  # some are lost
    received = np.maximum.accumulate(made + delays)
    first = (0.0, 0.1)
    assert watched([(first[0] + offset, first[1]), *zip(made + offset, received, strict=True)]) == []


def test_late_messages_at_first_and_timely_ones_then_are_no_jump():
    assert watched([(10.0, 10.35), (10.30, 10.36), (10.4, 10.46)]) == []


def test_a_jump_while_nobody_asked_is_past_when_somebody_does():
    watch = ClockWatch("our", bound=0.2, warm_up=0.0)
    for stamp, received in ((10.0, 0.0), (50.0, 1.0), (649.0, 600.0)):
        watch.take(stamp, received)
    assert watch.alarm(600.0) == ""


def test_every_alarm_is_asked_so_that_none_is_told_at_another_time():
    told = [["first"], ["second"]]
    bench = Bench(alarms=[lambda now, texts=texts: texts.pop() if texts else "" for texts in told])
    bench.run(1)
    assert bench.ask(Event.START) == "first"
    assert bench.ask(Event.START) == ""


def test_clocks_that_drift_apart_have_not_jumped():
    seconds = np.arange(0.5, 3600, 0.5)
    assert watched(zip(1e4 + seconds * (1 + 1e-4), seconds, strict=True)) == []  # 0.36 s in an hour


def test_a_stamp_of_zero_says_nothing_and_an_infinite_bound_is_off():
    assert watched([(0.0, 0.0), (1000.0, 0.01), (0.0, 0.02), (1000.02, 0.03)]) == []
    assert watched([(1000.0, 0.0), (5000.0, 0.01)], bound=INF) == []


def test_the_newest_message_watches_the_driver_s_clock_and_ours():
    newest = Newest()
    alarm = newest.watch_clocks(0.2)
    newest.take(1, stamp=100.0, received=0.0, wall=100.0)
    newest.take(2, stamp=100.1, received=0.1, wall=109.1)
    assert alarm(0.1) == "our clock jumped by +9.00 s"
    newest.take(3, stamp=101.2, received=1.2, wall=110.2)
    newest.take(4, stamp=104.3, received=1.3, wall=110.3)
    assert alarm(1.3) == "the driver's clock jumped by +3.00 s"
    assert alarm(1.4) == ""


# ------------------------------------------------------------ commands and positions


def frozen(commands, measured, **options):
    """The first complaint of control steps of 50 ms, and its number."""
    watch = MotionWatch(SafetySettings(**options), names=NAMES, period=PERIOD)
    for k, (command, place) in enumerate(zip(commands, measured, strict=True)):
        if told := watch.step(0.05 * k, np.array(command, float), np.array(place, float)):
            return k, told
    return None, ""


MOVING = [(0.02 * k, 0.0) for k in range(15)]
STILL = [(0.0, 0.0)] * 15


def test_positions_that_do_not_change_while_commands_move_are_frozen():
    at, told = frozen(MOVING, STILL)
    assert at == 6  # 0.3 s, the first step after 0.25 s
    assert told == "the joint states have not changed for 0.30 s while commands moved by 0.12 rad"


@pytest.mark.parametrize(
    ("commands", "measured", "options"),
    [
        (STILL, STILL, {}),
        ([(0.003 * k, 0.0) for k in range(15)], STILL, {}),  # a little
        (MOVING, [(0.0, 1e-9 * (k % 2)) for k in range(15)], {}),  # held, but alive
        (MOVING, STILL, {"frozen_after": INF}),
    ],
)
def test_what_stands_still_for_a_reason_is_not_frozen(commands, measured, options):
    assert frozen(commands, measured, **options) == (None, "")


def test_commands_that_come_back_have_moved_all_the_same():
    there_and_back = [(0.1 * (k % 2), 0.0) for k in range(15)]
    assert frozen(there_and_back, STILL)[0] == 6


def test_a_joint_far_from_its_command_is_named():
    at, told = frozen([(0.0, 0.0), (0.0, 0.2), (0.0, 0.4)], [(0.0, 0.0), (0.0, 0.01), (0.0, 0.02)])
    assert at == 2
    assert told == "joint 'b' is 0.38 rad from its command (allowed 0.35)"
    assert frozen([(0.0, 9.0)], [(0.0, 0.0)], tracking_error=INF) == (None, "")


@pytest.mark.parametrize(("pattern", "told"), [((1,), True), ((1, 1, 0), True), ((1, 0), False), ((1, 0, 0), False)])
def test_too_many_refused_commands_in_a_window(pattern, told):
    watch = MotionWatch(SafetySettings(), names=NAMES, period=PERIOD)
    complaints = [watch.period(refused=bool(pattern[k % len(pattern)])) for k in range(600)]
    assert any(complaints) == told
    if told:
        first = next(k for k, complaint in enumerate(complaints) if complaint)
        assert "126 commands were refused in 1 s" in complaints[first]
        assert sum(bool(pattern[k % len(pattern)]) for k in range(first + 1)) == 126


def test_an_activation_begins_with_a_clean_slate():
    watch = MotionWatch(SafetySettings(), names=NAMES, period=PERIOD)
    for _ in range(125):
        assert watch.period(refused=True) == ""
    watch.begin()
    assert watch.period(refused=True) == ""


# ------------------------------------------------------------ in the controller


class Frozen(FakeArm):
    """A driver that goes on stamping what it said long ago."""

    def write(self, position):
        self.sent.append(position.copy())


class Jumping(FakeArm):
    """Believes after some commands that it is elsewhere."""

    def read(self):
        observation, age = super().read()
        if len(self.sent) > 60:
            observation["observation.state"][2] += 10.0
        return observation, age


def driven(arm, **options):
    bench = Bench(**options)
    bench.arm = bench.controller._robot = bench.controller._watchdog._robot = arm
    return bench.start().run(200)


@pytest.mark.parametrize(("arm", "told"), [(Frozen, "have not changed for"), (Jumping, "is 10.0")])
def test_an_arm_that_does_not_do_what_it_is_told_is_a_fault(arm, told):
    arm = arm()
    bench = driven(arm)
    assert bench.state is State.FAULT
    assert told in bench.controller.machine.reason
    assert not bench.controller.moving
    require_within_limits(arm.sent)


def test_an_alarm_refuses_the_start_is_a_fault_in_motion_and_in_a_hold_and_nothing_while_ready():
    told = [""]
    bench = Bench(alarms=(lambda now: told[0],))
    told[0] = "contact"
    bench.run(3)
    assert bench.state is State.READY
    assert bench.ask(Event.START) == "contact"
    told[0] = ""
    bench.start().run(60)
    told[0] = "contact"
    bench.run(60)
    assert (bench.state, bench.controller.machine.reason) == (State.FAULT, "contact")
    require_within_limits(bench.arm.sent)
    held = Bench(alarms=(lambda now: "contact" if now > 0.4 else "",)).start().run(60)
    held.arm.old = 1.0
    assert held.run(20).state is State.HOLD
    assert held.run(60).state is State.FAULT


def test_a_policy_that_leans_against_the_box_is_a_fault_that_says_so():
    # ee_delta keeps to the workspace by itself, so that a smaller one is needed to lean against
    bench = Bench(inference=FakeInference(action=FORWARD))
    box = bench.controller.safety.box
    box._box[1, 0] = ROBOT.chain.forward(HOME[:-1]).tool_pos[0] + 0.03
    bench.start().run(500)
    assert bench.state is State.FAULT
    assert "commands were refused in 1 s" in bench.controller.machine.reason
    assert max(box.beyond(position) for position in bench.arm.sent) <= 1e-6
    require_within_limits(bench.arm.sent)


def test_at_less_than_the_robot_s_limits_the_policy_is_still_followed():
    safety = SafetySettings(velocity_share=0.3, acceleration_share=0.3, jerk_share=0.02, position_margin=0.05)
    bench = Bench(safety=safety).start().run(250)
    assert bench.state is State.ACTIVE
    moved = ROBOT.chain.forward(bench.arm.pose[:-1]).tool_pos - ROBOT.chain.forward(HOME[:-1]).tool_pos
    assert moved[0] > 0.1
    speed = np.abs(np.diff(np.stack(bench.arm.sent), axis=0))[:, :-1] / PERIOD
    assert (speed <= 0.3 * np.array(ROBOT.max_velocity) + 1e-9).all()
    assert bench.controller.safety.refused == 0
