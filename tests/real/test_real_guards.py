"""What the controller refuses, and how commands begin, go on and end when something is amiss; in virtual time."""

import numpy as np
import pytest
from test_real_controller import FORWARD, HOME, PERIOD, ROBOT, Bench, FakeArm, FakeInference, require_within_limits

from robolearn.errors import UserError
from robolearn.real import control_loop
from robolearn.real.control_loop import ControlLoop
from robolearn.real.observer import Unobserved
from robolearn.real.requests import SILENT, outcome
from robolearn.real.safety import Limits
from robolearn.real.settings import Settings
from robolearn.real.starting import SETTLING, first_command, moved, next_command, refusal
from robolearn.real.state_machine import Event, State

LIMITS = Limits.of(ROBOT, period=PERIOD)
NAMES = (*ROBOT.joint_names, "gripper_width")


def measured(arm):
    """Where the controller finds an arm."""
    return arm.read()[0]["observation.state"][: len(HOME)].astype(float)


def stopped(bench):
    future = bench.controller.request(Event.STOP)
    while not future.done():
        bench.run(1)
    return bench


class LaggingArm(FakeArm):
    """Is where it was told to be some commands ago."""

    def write(self, position):
        self.sent.append(position.copy())
        self.pose = self.sent[max(0, len(self.sent) - 11)].copy()


# ------------------------------------------------------------ numbers


@pytest.mark.parametrize(("at", "bad"), [(0, np.nan), (6, np.nan), (7, np.nan), (7, np.inf)])
def test_an_arm_that_does_not_know_where_it_is_does_not_start(at, bad):
    bench = Bench()
    bench.arm.pose[at] = bad
    bench.run(2)
    assert f"'{NAMES[at]}' is not a finite number" in bench.ask(Event.START)
    assert bench.state is State.READY
    assert not bench.run(20).arm.sent


def test_a_gripper_far_outside_its_limits_does_not_start():
    bench = Bench()
    bench.arm.pose[-1] = 60.0  # its driver counts in mm
    bench.run(2)
    assert "the gripper is at 60.000 m" in bench.ask(Event.START)


def test_a_width_that_is_lost_in_a_hold_is_a_fault_and_stop_ends():
    bench = Bench().start().run(60)
    bench.arm.old = 1.0
    bench.run(60)
    bench.arm.pose[-1] = np.nan
    bench.arm.old = 0.0
    bench.run(2)
    assert bench.state is State.FAULT
    assert "'gripper_width' is not a finite number" in bench.controller.machine.reason
    assert bench.ask(Event.STOP) == ""
    assert np.isfinite(np.stack(bench.arm.sent)).all()


def test_an_observation_that_is_not_finite_is_a_fault_and_never_asked_about():
    bench = Bench().start().run(60)
    asked = len(bench.inference.asked)
    bench.arm.read = lambda: ({"observation.state": np.full(17, np.nan, np.float32)}, 0.0)
    bench.run(60)
    assert bench.state is State.FAULT
    assert len(bench.inference.asked) == asked
    assert np.isfinite(np.stack(bench.arm.sent)).all()
    require_within_limits(bench.arm.sent)


@pytest.mark.parametrize("name", ["rate", "stale_after", "chunk_timeout", "deadline"])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_settings_must_be_finite(name, value):
    with pytest.raises(UserError, match=f"{name} must be positive and finite"):
        Settings(**{name: value})


# ------------------------------------------------------------ where commands begin


@pytest.mark.parametrize(("joint", "bound", "outside"), [(1, ROBOT.upper, 0.04), (3, ROBOT.lower, -0.04)])
def test_a_joint_outside_its_limits_comes_in_without_a_jump(joint, bound, outside):
    bench = Bench()
    bench.arm.pose[joint] = bound[joint] + outside
    begin = measured(bench.arm)
    bench.start().run(200)
    require_within_limits([begin, *bench.arm.sent])
    assert LIMITS.lower[joint] <= bench.arm.pose[joint] <= LIMITS.upper[joint]


def test_an_arm_that_was_moved_a_little_in_a_hold_goes_on_from_where_it_is():
    bench = Bench().start().run(60)
    bench.arm.old = 1.0
    bench.run(60)
    bench.run(round(SETTLING / PERIOD))  # before, it may be on its way to its last command, and is let go on there
    bench.arm.pose[:-1] += 0.1
    begin, sent = measured(bench.arm), len(bench.arm.sent)
    bench.arm.old = 0.0
    bench.run(60)
    assert bench.state is State.ACTIVE
    assert len(bench.arm.sent) > sent
    begin[-1] = bench.arm.sent[sent - 1][-1]
    require_within_limits([begin, *bench.arm.sent[sent:]])


def test_a_start_right_after_a_stop_goes_on_from_the_last_command():
    bench = Bench()
    bench.arm = bench.controller._robot = bench.controller._watchdog._robot = LaggingArm()
    stopped(bench.start().run(60))
    sent = len(bench.arm.sent)
    last = bench.arm.sent[-1]
    assert np.abs(measured(bench.arm) - last).max() > 1e-3  # it has not come to rest yet
    assert bench.ask(Event.START) == ""
    bench.run(60)
    assert len(bench.arm.sent) > sent
    require_within_limits([last, *bench.arm.sent[sent:]])


class SlowArm(FakeArm):
    """Follows its commands as a first-order lag, `lag` s."""

    lag = 0.1

    def write(self, position):
        self.sent.append(position.copy())
        self.told = position.copy()

    def pass_period(self):
        told = getattr(self, "told", self.pose)
        self.pose = self.pose + (told - self.pose) * PERIOD / self.lag


@pytest.mark.parametrize("lag", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("event", ["an old observation", "stop and start", "a short stall"])
def test_an_arm_that_lags_gets_no_step_where_commands_go_on(lag, event):
    bench = Bench(inference=FakeInference(action=2 * FORWARD))
    arm = bench.arm = bench.controller._robot = bench.controller._watchdog._robot = SlowArm()
    arm.lag = lag

    def run(periods):
        for _ in range(periods):
            bench.run(1)
            arm.pass_period()

    run(1)
    assert bench.ask(Event.START) == ""
    run(60)
    moved_on = len(arm.sent)
    if event == "an old observation":
        arm.old = 0.06
        run(5)
        arm.old = 0.0
    elif event == "a short stall":
        bench.count += 15
    else:
        bench.controller.request(Event.STOP)
        run(60)
        while bench.ask(Event.START):
            run(1)
    run(400)
    assert bench.state is State.ACTIVE
    assert len(arm.sent) > moved_on + 100
    if event != "a short stall":
        require_within_limits(arm.sent)
    else:  # in which the driver has stopped the arm where the last command said
        require_within_limits(arm.sent[:moved_on])
        require_within_limits(arm.sent[moved_on - 1 :])


def test_commands_begin_at_the_last_one_only_where_the_arm_still_is():
    close, away = HOME + 0.004, HOME + np.array((0, 0, 0, 0, 0, 0, 0.03, 0))
    np.testing.assert_array_equal(first_command(close, None), close)
    np.testing.assert_array_equal(first_command(close, HOME), HOME)
    np.testing.assert_array_equal(first_command(away, HOME), away)
    np.testing.assert_array_equal(next_command(away, HOME, settled=False), HOME)  # it is still on its way
    opened = HOME + np.array((*[0.0] * 7, 0.02))
    np.testing.assert_array_equal(first_command(opened, HOME), opened)  # by somebody, while nothing was sent
    np.testing.assert_array_equal(next_command(opened, HOME, settled=True), HOME)  # by what it holds
    assert refusal(HOME, LIMITS, NAMES) == moved(close, HOME, NAMES) == ""


# ------------------------------------------------------------ a loop that fails or stands still


@pytest.fixture
def at_once(monkeypatch):
    """A control loop whose periods follow each other without waiting."""
    monkeypatch.setattr(control_loop, "sleep_until", lambda deadline: 0.0)
    monkeypatch.setattr(control_loop, "use_fifo", lambda priority: False)


def test_an_arm_is_braked_when_the_control_loop_fails(at_once):
    class Driver(FakeArm):
        def read(self):
            if len(self.sent) > 60:
                raise ValueError("'panda_joint1' is not in list")
            return super().read()

    bench = Bench()
    bench.arm = bench.controller._robot = bench.controller._watchdog._robot = Driver()
    period = bench.controller.period

    def counted(now):
        bench.inference.now = bench.count
        bench.count += 1
        period(bench.count * PERIOD)
        if bench.count == 1:
            bench.controller.request(Event.START)

    bench.controller.period = counted
    loop = ControlLoop(bench.controller, lock=False)
    loop._run()
    assert "panda_joint1" in loop.failure
    assert (bench.state, bench.controller.moving) == (State.FAULT, False)
    require_within_limits(bench.arm.sent)
    np.testing.assert_array_equal(bench.arm.sent[-1], bench.arm.sent[-2])


def test_the_arm_is_braked_even_if_who_is_told_of_the_failure_fails_too(at_once):
    class Failing(Unobserved):
        def executed(self, *_, **__):
            raise OSError("no space left")

        def commanded(self, position):
            if failing:
                raise OSError("no space left")

    failing = False
    bench = Bench().start().run(62)
    bench.controller._observer = Failing()
    failing = True
    loop = ControlLoop(bench.controller, lock=False)
    loop._loop = lambda: bench.run(60)
    loop._run()
    assert "no space left" in loop.failure
    assert (bench.state, bench.controller.moving) == (State.FAULT, False)
    require_within_limits(bench.arm.sent)


def test_what_was_refused_in_one_activation_is_not_counted_in_the_next():
    bench = Bench().start().run(60)
    bench.controller.safety.refused = bench.controller.safety.limited = 7
    stopped(bench)
    assert bench.ask(Event.START) == ""
    assert (bench.controller.safety.refused, bench.controller.safety.limited) == (0, 0)


def test_a_loop_that_stood_still_for_a_moment_holds_and_goes_on_from_where_the_arm_is():
    bench = Bench().start().run(60)
    before = len(bench.arm.sent)
    bench.count += 13  # 52 ms
    bench.run(1)
    assert bench.state is State.HOLD
    assert "the control loop stood still for 0.06 s" in bench.controller.machine.reason
    np.testing.assert_array_equal(bench.arm.sent[-1], bench.arm.sent[-2])
    bench.run(60)
    assert bench.state is State.ACTIVE
    require_within_limits(bench.arm.sent[before:])  # it came to rest in the gap


def test_a_loop_that_stood_still_for_long_is_a_fault_and_does_not_go_on():
    bench = Bench().start().run(60)
    sent = len(bench.arm.sent)
    bench.count += 150  # 0.6 s
    bench.run(60)
    assert bench.state is State.FAULT
    assert "the control loop stood still for 0.60 s" in bench.controller.machine.reason
    assert not bench.controller.moving
    assert len(bench.arm.sent) == sent  # the arm may have been moved meanwhile: nothing sets it back
    bench.ask(Event.STOP)
    bench.run(1)
    assert bench.ask(Event.START) == ""


def test_a_loop_that_stood_still_while_nothing_was_sent_may_start():
    bench = Bench().run(5)
    bench.count += 1000
    bench.run(1)
    assert bench.ask(Event.START) == ""
    assert bench.run(5).state is State.ACTIVE


def test_an_answer_is_as_old_as_the_step_that_it_is_for():
    """One comes in every control step, but from 0.17 s on after its own began."""
    bench = Bench(inference=FakeInference(delay=42), chunk_timeout=0.2).start().run(60)
    assert bench.controller.statistics.holds > 0
    assert Bench(inference=FakeInference(delay=42), chunk_timeout=0.3).start().run(60).controller.statistics.holds == 0


# ------------------------------------------------------------ requests


def test_a_start_that_nobody_waits_for_any_more_is_not_granted():
    bench = Bench().run(2)
    request = bench.controller.request(Event.START)
    assert outcome(request, 0.0) == SILENT
    bench.run(5)
    assert bench.state is State.READY
    assert not bench.arm.sent


def test_a_stop_that_nobody_waits_for_any_more_is_obeyed():
    bench = Bench().start().run(60)
    assert outcome(bench.controller.request(Event.STOP), 0.0) == SILENT
    bench.run(60)
    assert (bench.state, bench.controller.moving) == (State.READY, False)
    assert outcome(bench.controller.request(Event.STOP), 0.0) == SILENT
    bench.run(1)


def test_a_fault_that_somebody_else_found_brakes():
    bench = Bench().start().run(60)
    request = bench.controller.request(Event.FAULT, "another node publishes commands")
    bench.run(60)
    assert request.result(0) == ""
    assert (bench.state, bench.controller.machine.reason) == (State.FAULT, "another node publishes commands")
    require_within_limits(bench.arm.sent)


def test_a_controller_that_does_not_resume_faults_where_it_would_hold():
    bench = Bench().start().run(60)
    bench.controller._resumes = False
    bench.arm.old = 1.0
    bench.run(60)
    bench.arm.old = 0.0
    bench.run(60)
    assert bench.state is State.FAULT
    assert "1000 ms old" in bench.controller.machine.reason
