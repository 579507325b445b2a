"""A person takes over from the policy in the control loop, and hands back."""

import numpy as np
from test_real_controller import (
    FORWARD,
    HOME,
    PERIOD,
    ROBOT,
    SCHEMA,
    SPACE,
    FakeArm,
    FakeInference,
    require_within_limits,
)

from robolearn.action_space import make_action_space, still
from robolearn.real.controller import Controller
from robolearn.real.observer import Unobserved
from robolearn.real.settings import Settings
from robolearn.real.state_machine import Event, State
from robolearn.real.takeover import Led, Person, action_of_twist

BACK = np.array((-0.008, 0.0, 0.0, 0.0, 0.03), np.float32)


class Policy(FakeInference):
    """Also stands back."""

    def __init__(self, **options):
        super().__init__(**options)
        self.watched, self.replanned = [], []

    def ask(self, tick, observation, *, replan=False):
        if replan:
            self.replanned.append(tick)
        return super().ask(tick, observation)

    def watch(self, tick, observation):
        self.watched.append(tick)
        return True


class Log(Unobserved):
    def __init__(self):
        self.frames, self.states, self.observations = [], [], []

    def observed(self, begin, observation):
        self.observations.append((begin, observation))

    def executed(self, begin, action, *, person):
        self.frames.append((begin, action.copy(), person))

    def changed(self, before, after, reason):
        self.states.append((before, after))


class Bench:
    def __init__(self, *, delay=2, **settings):
        self.arm, self.policy, self.log = FakeArm(), Policy(delay=delay), Log()
        self.wish, self.held, self.count = None, [], 0
        person = Person(self.takeover, SCHEMA.action)
        self.controller = Controller(
            schema=SCHEMA,
            action_space=SPACE,
            robot=self.arm,
            inference=Led(self.policy, person, SCHEMA),
            settings=Settings(**settings),
            at_once=True,
            observer=self.log,
            clock=lambda: self.count * PERIOD,
        )

    def takeover(self, held):
        self.held.append(held)
        return self.wish

    def run(self, periods):
        for _ in range(periods):
            self.policy.now = self.count
            self.controller.period(self.count * PERIOD)
            self.count += 1
        return self

    def start(self):
        self.run(1)
        self.controller.request(Event.START)
        return self.run(1)

    def next_step(self):
        count = len(self.log.observations)
        while len(self.log.observations) == count:
            self.run(1)
        return self

    @property
    def x(self):
        return ROBOT.chain.forward(self.arm.pose[:-1]).tool_pos[0]


def test_a_person_takes_over_in_the_midst_of_a_control_step():
    bench = Bench(deadline=0.02).start().run(60).next_step().run(8)  # when an answer of the policy would be too late
    bench.wish, before = BACK, bench.x
    assert bench.controller.statistics.takeovers == 0
    bench.next_step()
    _, action, person = bench.log.frames[-1]
    np.testing.assert_array_equal(action, BACK)
    assert person
    bench.run(38)
    assert bench.x < before
    require_within_limits(bench.arm.sent)


def test_a_step_that_a_person_has_taken_stays_the_person_s():
    bench = Bench(delay=9, deadline=0.05).start().run(60).next_step().run(3)
    bench.wish = BACK
    bench.run(1)
    bench.wish = None  # and the policy answers afterwards
    bench.next_step()
    _, action, person = bench.log.frames[-1]
    np.testing.assert_array_equal(action, BACK)
    assert person


def test_a_takeover_is_as_if_the_person_had_always_led():
    """The same actions, from a person and from a policy without latency, give the same motion."""
    led = Bench()
    led.wish = FORWARD
    led.start().run(200)
    policy = Bench(delay=0).start().run(200)
    np.testing.assert_array_equal(led.arm.sent, policy.arm.sent)


def test_the_policy_watches_meanwhile_and_plans_anew_from_the_newest_observation():
    bench = Bench().start().run(60)
    bench.wish = BACK
    bench.run(100)
    asked, watched = len(bench.policy.asked), list(bench.policy.watched)
    assert watched == list(range(watched[0], watched[0] + len(watched)))
    assert len(watched) == 8
    bench.wish = None
    bench.run(1)
    while len(bench.policy.asked) == asked:
        bench.run(1)
    assert bench.policy.replanned == [watched[-1] + 1]
    assert bench.policy.asked[-1] == watched[-1] + 1
    before = len(bench.arm.sent)
    bench.run(60)
    assert len(bench.policy.replanned) == 1
    assert bench.controller.machine.state is State.ACTIVE
    require_within_limits(bench.arm.sent)
    jumps = np.abs(np.diff(np.stack(bench.arm.sent[before - 60 :]), 2, axis=0))[:, :-1] / PERIOD**2
    assert (jumps <= np.array(ROBOT.max_acceleration) * (1 + 1e-6)).all()


def test_a_policy_that_is_too_busy_at_the_hand_back_is_told_to_plan_anew_as_soon_as_it_listens():
    bench = Bench().start().run(60)
    bench.wish = BACK
    bench.run(40)
    bench.wish, ask, told = None, bench.policy.ask, []

    def busy(tick, observation, *, replan=False):
        told.append(replan)
        return len(told) > 2 and ask(tick, observation, replan=replan)

    bench.policy.ask = busy
    while len(told) < 5:
        bench.run(1)
    assert told == [True, True, True, False, False]
    assert len(bench.policy.replanned) == 1


def test_nothing_of_what_was_planned_before_is_executed_after_a_takeover():
    bench = Bench(delay=8).start().run(60)  # answers come late: the plan alone moves the arm
    bench.wish = still(SCHEMA.action, 0.06)
    bench.run(40)
    bench.policy.delay, bench.wish = 10_000, None
    x = bench.x
    bench.run(40)
    assert abs(bench.x - x) < 1e-4


def test_segments_are_counted_and_labelled():
    bench = Bench().start().run(60)
    for _ in range(2):
        bench.wish = BACK
        bench.run(50)
        bench.wish = None
        bench.run(50)
    bench.controller.request(Event.STOP)
    bench.run(60)
    statistics = bench.controller.statistics.to_dict()
    labels = [person for _, _, person in bench.log.frames]
    assert statistics["takeovers"] == 2
    assert statistics["person_steps"] == sum(labels)
    assert 8 <= sum(labels) <= 10
    begins = [begin for begin, *_ in bench.log.frames]
    np.testing.assert_allclose(np.diff(begins), 0.05)
    assert begins == [begin for begin, _ in bench.log.observations][: len(begins)]
    assert statistics["latency_ms"]  # the policy's answers alone
    assert max(statistics["latency_ms"]) < 15


def test_a_step_without_an_action_is_reported_as_standing_still():
    bench = Bench(delay=10_000, chunk_timeout=0.5).start().run(30)
    (_, action, person), *_ = bench.log.frames
    np.testing.assert_array_equal(action, still(SCHEMA.action, HOME[-1]))
    assert not person


def test_a_person_leads_on_where_inference_is_silent():
    bench = Bench(chunk_timeout=0.2).start().run(60)
    bench.policy.delay, bench.wish = 10_000, BACK
    bench.run(100)
    assert bench.controller.machine.state is State.ACTIVE
    bench.wish = None
    bench.run(100)
    assert bench.controller.machine.state is State.HOLD


def test_what_a_person_wants_stays_within_bounds_and_limits():
    bench = Bench().start().run(60)
    bench.wish = 100 * FORWARD
    bench.run(100)
    _, action, _ = bench.log.frames[-1]
    np.testing.assert_array_equal(action, np.clip(100 * FORWARD, SCHEMA.action.low, SCHEMA.action.high).astype("f4"))
    require_within_limits(bench.arm.sent)
    bench.wish = np.full(5, np.nan, np.float32)
    bench.run(60)
    assert bench.controller.machine.state is State.FAULT
    assert np.isfinite(np.stack(bench.arm.sent)).all()


def test_a_person_is_offered_the_gripper_as_it_was_sent():
    bench = Bench().start().run(60)
    assert bench.held[-1][-1] == FORWARD[-1]
    assert not bench.held[-1][:-1].any()
    bench.wish = BACK
    bench.run(30)
    assert bench.held[-1][-1] == BACK[-1]


def test_states_are_told_in_their_order():
    bench = Bench().start().run(30)
    bench.controller.request(Event.STOP)
    bench.run(60)
    assert bench.log.states == [
        (State.INACTIVE, State.READY),
        (State.READY, State.ACTIVE),
        (State.ACTIVE, State.READY),
    ]


def test_a_twist_becomes_an_action_of_its_space():
    twist = np.array((0.1, 0.2, 0.3, 0.4, 0.5, 0.6))
    names = make_action_space("ee_delta", robot=ROBOT, dt=0.05).feature.names
    np.testing.assert_allclose(
        action_of_twist(names, twist, 0.02, dt=0.05), (0.005, 0.01, 0.015, 0.03, 0.02), rtol=1e-6
    )
    names = make_action_space("ee_delta_6d", robot=ROBOT, dt=0.05).feature.names
    expected = (*(0.05 * twist), 0.02)
    np.testing.assert_allclose(action_of_twist(names, twist, 0.02, dt=0.05), expected, rtol=1e-6)
