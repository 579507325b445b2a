from dataclasses import replace

import numpy as np
import pytest
from bundle_factory import make_schema

from robolearn.action_space import make_action_space
from robolearn.errors import UserError
from robolearn.motion import MotionLimiter
from robolearn.proprioception import proprioception
from robolearn.real.controller import Controller
from robolearn.real.messages import Answer
from robolearn.real.safety import Limits
from robolearn.real.settings import Settings
from robolearn.real.starting import SETTLING
from robolearn.real.state_machine import Event, State
from robolearn.real.statistics import STAGES, summarise
from robolearn.sim.robots import get_robot

ROBOT = get_robot("panda")
SCHEMA = make_schema(ROBOT)
SPACE = make_action_space("ee_delta", robot=ROBOT, dt=0.05)
HOME = np.array((*ROBOT.home, 0.06))
PERIOD = 0.004
FORWARD = np.array((0.01, 0.0, 0.0, 0.0, 0.06), np.float32)


class FakeArm:
    """Is where it was told to be."""

    schema = SCHEMA

    def __init__(self):
        self.pose, self.old, self.sent = HOME.copy(), 0.0, []

    def age(self):
        return self.old

    def read(self):
        state = proprioception(ROBOT, self.pose[:-1], self.pose[-1])
        return {"observation.state": state, "observation.environment_state": np.zeros(9, np.float32)}, 0.002

    def write(self, position):
        self.sent.append(position.copy())
        self.pose = position.copy()


class FakeInference:
    """Answers `delay` periods later with a chunk of the same action."""

    def __init__(self, delay=1, action=FORWARD, horizon=8):
        self.alive, self.delay, self.action, self.horizon = True, delay, action, horizon
        self.now, self.waiting, self.asked, self.resets = 0, [], [], []

    def reset(self, *, epoch, seed):
        self.epoch, self.waiting = epoch, []
        self.resets.append((epoch, seed))

    def ask(self, tick, observation):
        self.asked.append(tick)
        actions = np.repeat(np.asarray(self.action, np.float32)[None], self.horizon, axis=0)
        self.waiting.append((self.now + self.delay, Answer(self.epoch, tick, actions, 0.001)))
        return True

    def poll(self):
        newest = None
        while self.waiting and self.waiting[0][0] <= self.now:
            newest = self.waiting.pop(0)[1]
        return newest


class Bench:
    def __init__(self, inference=None, *, space=SPACE, safety=None, collisions=None, alarms=(), **settings):
        self.arm, self.inference = FakeArm(), inference or FakeInference()
        self.count, self.length = 0, 1 / settings.get("rate", 250)
        self.controller = Controller(
            schema=SCHEMA,
            action_space=space,
            robot=self.arm,
            inference=self.inference,
            settings=Settings(**settings),
            safety=safety,
            collisions=collisions,
            alarms=alarms,
            clock=lambda: self.count * self.length,
        )

    @property
    def state(self):
        return self.controller.machine.state

    def run(self, periods):
        for _ in range(periods):
            self.inference.now = self.count
            self.controller.period(self.count * self.length)
            self.count += 1
        return self

    def ask(self, event):
        future = self.controller.request(event)
        self.run(1)
        return future.result(0) if future.done() else future

    def start(self):
        self.run(1)
        assert self.ask(Event.START) == ""
        return self


def require_within_limits(sent):
    limits = Limits.of(ROBOT, period=PERIOD)
    path = np.stack([sent[0], *sent])
    velocity = np.diff(path, axis=0) / PERIOD
    assert (np.abs(velocity) <= limits.velocity + 1e-6).all()
    assert (np.abs(np.diff(velocity, axis=0)) / PERIOD <= limits.acceleration * (1 + 1e-6) + 1e-6).all()


def simulated(steps):
    """Where the simulator's motion is after control steps of `FORWARD`, ten short steps each."""
    motion, position, velocity = MotionLimiter(ROBOT, 0.005), HOME, np.zeros_like(HOME)
    for _ in range(steps):
        goal = SPACE.command(position, position, FORWARD.astype(float))
        path, velocity = motion.follow(position, velocity, goal, 10)
        position = path[-1]
    return position


def test_nothing_is_sent_before_the_start():
    bench = Bench().run(20)
    assert bench.state is State.READY
    assert not bench.arm.sent


def test_the_first_command_is_the_measured_pose():
    bench = Bench(inference=FakeInference(delay=3)).start().run(2)
    np.testing.assert_allclose(bench.arm.sent[0], HOME, atol=1e-6)
    np.testing.assert_allclose(bench.arm.sent[1], HOME, atol=1e-6)


def test_latency_is_told_by_its_parts_where_a_chunk_was_inferred_for_the_observation():
    class EverySecond(FakeInference):
        def poll(self):
            answer = super().poll()
            return answer and replace(answer, chunk=answer.tick - answer.tick % 2)

    bench = Bench(inference=EverySecond(delay=3)).start().run(100)
    statistics = bench.controller.statistics
    parts = [statistics.stages[name].values() for name in STAGES]
    assert [len(part) for part in parts] == [4] * 4  # of eight control steps
    assert statistics.latency.count == 8
    observation, transport, inference, command = map(np.max, parts)
    assert (observation, inference) == pytest.approx((0.002, 0.001))
    assert transport == pytest.approx(3 * PERIOD - 0.001)
    assert command == 0.0  # in the period in which it comes
    np.testing.assert_allclose(np.sum(parts, axis=0), statistics.latency.values().max())
    assert set(summarise([statistics.to_dict()])) > {f"{name}_ms" for name in STAGES}


@pytest.mark.parametrize("delay", [1, 2, 4])
def test_the_arm_moves_as_in_simulation_whatever_the_latency(delay):
    # the simulator's rate, so that both move in the same short steps
    bench = Bench(inference=FakeInference(delay=delay), rate=200.0).start().run(199)
    there = ROBOT.chain.forward(simulated(20)[:-1]).tool_pos
    here = ROBOT.chain.forward(bench.arm.pose[:-1]).tool_pos
    np.testing.assert_allclose(here, there, atol=5e-4 + 1e-3 * delay)  # lost once, at the start
    statistics = bench.controller.statistics
    assert statistics.late_chunks == 0
    assert statistics.ticks == 20
    assert statistics.latency.values().max() == pytest.approx(0.002 + delay * 0.005)


def test_commands_stay_within_limits():
    bench = Bench(inference=FakeInference(delay=2)).start().run(250)
    require_within_limits(bench.arm.sent)
    assert bench.controller.safety.limited == 0


def test_velocity_does_not_drop_while_waiting_for_inference():
    bench = Bench(inference=FakeInference(delay=3)).start().run(150)
    speed = np.linalg.norm(np.diff(np.stack(bench.arm.sent[100:]), axis=0)[:, :-1], axis=1)
    assert speed.min() > 0.7 * speed.max()


def test_a_late_answer_is_replaced_by_the_plan():
    bench = Bench(inference=FakeInference(delay=8)).start().run(200)
    statistics = bench.controller.statistics
    assert statistics.late_chunks >= statistics.ticks - 1
    tool = ROBOT.chain.forward(bench.arm.pose[:-1]).tool_pos - ROBOT.chain.forward(HOME[:-1]).tool_pos
    assert tool[0] > 0.12
    assert bench.state is State.ACTIVE


def test_stop_brakes_within_limits_and_then_is_silent():
    bench = Bench().start().run(60)
    future = bench.controller.request(Event.STOP)
    while not future.done():
        bench.run(1)
    assert bench.state is State.READY
    sent = len(bench.arm.sent)
    assert len(bench.run(20).arm.sent) == sent
    require_within_limits(bench.arm.sent)
    np.testing.assert_array_equal(bench.arm.sent[-1], bench.arm.sent[-2])


def test_a_stale_observation_holds_and_a_fresh_one_goes_on():
    bench = Bench().start().run(60)
    bench.arm.old = 0.051
    bench.run(60)
    assert bench.state is State.HOLD
    assert "51 ms" in bench.controller.machine.reason
    assert not bench.controller.moving
    bench.arm.old = 0.0
    bench.run(60)
    assert bench.state is State.ACTIVE
    assert bench.controller.statistics.holds == 1
    require_within_limits(bench.arm.sent[:60])


def test_an_arm_that_moved_during_the_hold_is_a_fault():
    bench = Bench().start().run(60)
    bench.arm.old = 1.0
    bench.run(60)
    bench.arm.pose = bench.arm.pose + 0.3
    bench.arm.old = 0.0
    bench.run(2)
    assert bench.state is State.HOLD  # it may still be on its way
    bench.run(round(SETTLING / PERIOD))
    assert bench.state is State.FAULT
    assert "moved" in bench.controller.machine.reason


def test_missing_answers_hold_until_one_comes():
    inference = FakeInference()
    bench = Bench(inference=inference, chunk_timeout=0.2).start().run(30)
    inference.delay = 10_000
    bench.run(120)
    assert bench.state is State.HOLD
    assert "no answer from inference" in bench.controller.machine.reason
    bench.run(100)
    assert bench.state is State.HOLD
    inference.delay, inference.waiting = 1, [(0, inference.waiting[-1][1])]
    bench.run(30)
    assert bench.state is State.ACTIVE


def test_a_dead_inference_process_is_a_fault_that_stop_clears():
    bench = Bench().start().run(30)
    bench.inference.alive = False
    bench.run(100)
    assert bench.state is State.FAULT
    require_within_limits(bench.arm.sent)
    assert bench.ask(Event.STOP) == ""
    bench.run(3)
    assert "inference process has ended" in bench.ask(Event.START)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_action_that_is_not_finite_is_a_fault(bad):
    bench = Bench(inference=FakeInference(action=(bad, 0.0, 0.0, 0.0, 0.06))).start().run(60)
    assert bench.state is State.FAULT
    assert "not finite" in bench.controller.machine.reason
    assert np.isfinite(np.stack(bench.arm.sent)).all()


def test_start_is_refused_with_a_reason():
    bench = Bench()
    bench.arm.old = None
    assert "inactive" in bench.run(2).ask(Event.START)
    bench.arm.old = 0.0
    bench.arm.pose = bench.arm.pose + np.array((0, 2.0, 0, 0, 0, 0, 0, 0))
    bench.run(2)
    assert "panda_joint2" in bench.ask(Event.START)


def test_each_activation_has_noise_of_its_own():
    bench = Bench(seed=7).start().run(20)
    bench.controller.request(Event.STOP)
    bench.run(60)
    assert bench.ask(Event.START) == ""
    assert bench.inference.resets == [(1, 8), (2, 9)]


def test_periods_that_were_skipped_do_not_shift_the_grid():
    bench = Bench().start()
    for _ in range(40):
        bench.run(1)
        bench.count += 2
    assert bench.inference.asked == list(range(len(bench.inference.asked)))
    assert bench.controller.statistics.ticks == len(bench.inference.asked)


@pytest.mark.parametrize("name", ["rate", "stale_after", "chunk_timeout", "deadline"])
def test_settings_must_be_positive(name):
    with pytest.raises(UserError, match=name):
        Settings(**{name: 0.0})


def test_a_rate_below_the_policy_is_refused():
    with pytest.raises(UserError, match="below"):
        Bench(rate=10.0)
