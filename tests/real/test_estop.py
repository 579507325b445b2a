"""The emergency stop: whatever the state, it brakes within limits, and only its reset leads out."""

import numpy as np
import pytest
from arm_bench import Bench as EnvBench
from arm_bench import started
from test_real_controller import PERIOD, Bench, require_within_limits

from robolearn.real.requests import SILENT, outcome
from robolearn.real.state_machine import TRANSITIONS, Event, State, StateMachine


def pressed(bench):
    future = bench.controller.request(Event.ESTOP, "pressed")
    while not future.done():
        bench.run(1)
    return bench


def test_the_table_has_one_way_into_the_stop_from_everywhere_and_one_out():
    ways_in = {start for (start, event), end in TRANSITIONS.items() if end is State.ESTOP}
    assert ways_in == set(State) - {State.ESTOP}
    assert {event for (_, event), end in TRANSITIONS.items() if end is State.ESTOP} == {Event.ESTOP}
    assert {key: end for key, end in TRANSITIONS.items() if key[0] is State.ESTOP} == {
        (State.ESTOP, Event.RESET_ESTOP): State.INACTIVE
    }


@pytest.mark.parametrize("event", [event for event in Event if event is not Event.RESET_ESTOP])
def test_nothing_but_the_reset_leads_out(event):
    machine = StateMachine()
    machine.handle(Event.ESTOP, "pressed")
    assert not machine.handle(event, "other")
    assert (machine.state, machine.reason) == (State.ESTOP, "pressed")


def test_it_brakes_at_once_within_limits_and_then_is_silent():
    bench = Bench().start().run(60)
    bench.controller.request(Event.ESTOP, "pressed")
    bench.run(1)
    speed = np.abs(np.diff(np.stack(bench.arm.sent[-3:]), axis=0))
    assert (speed[1] <= speed[0]).all()  # in the very period after it
    assert bench.state is State.ESTOP
    sent = len(bench.run(60).arm.sent)
    assert len(bench.run(100).arm.sent) == sent
    require_within_limits(bench.arm.sent)
    np.testing.assert_array_equal(bench.arm.sent[-1], bench.arm.sent[-2])


def test_start_stop_and_fresh_data_do_not_leave_it():
    bench = pressed(Bench().start().run(60))
    assert bench.ask(Event.STOP) == ""  # it is at rest, which is what was asked for
    assert "cannot start while estop (pressed)" in bench.ask(Event.START)
    bench.arm.old = 1.0
    bench.run(5)
    bench.arm.old = 0.0
    bench.run(5)
    assert (bench.state, bench.controller.moving) == (State.ESTOP, False)


def test_only_its_reset_leads_out_and_the_arm_moves_after_a_start_alone():
    bench = pressed(Bench().start().run(60))
    assert bench.ask(Event.RESET_ESTOP) == ""
    assert bench.state is State.INACTIVE
    sent = len(bench.run(20).arm.sent)
    assert bench.state is State.READY
    assert bench.ask(Event.START) == ""
    assert len(bench.run(20).arm.sent) > sent


def test_a_reset_before_the_arm_is_at_rest_or_without_a_stop_is_refused():
    bench = Bench().start().run(60)
    bench.controller.request(Event.ESTOP, "pressed")
    bench.run(1)
    assert "not come to rest" in bench.ask(Event.RESET_ESTOP)
    assert bench.run(60).state is State.ESTOP
    bench.ask(Event.RESET_ESTOP)
    bench.run(2)
    assert "no emergency stop" in bench.ask(Event.RESET_ESTOP)
    assert bench.state is State.READY


@pytest.mark.parametrize("made", [lambda bench: bench, lambda bench: bench.run(3)], ids=["inactive", "ready"])
def test_it_is_latched_while_nothing_moves_too(made):
    bench = pressed(made(Bench()))
    assert (bench.state, bench.arm.sent) == (State.ESTOP, [])
    assert "estop" in bench.ask(Event.START)


def test_it_is_latched_in_a_fault():
    bench = Bench().start().run(60)
    bench.inference.alive = False
    bench.run(60)
    assert pressed(bench).state is State.ESTOP


def test_it_passes_whatever_was_asked_before_it():
    bench = Bench().run(2)
    start = bench.controller.request(Event.START)
    bench.controller.request(Event.ESTOP, "pressed")
    bench.run(2)
    assert "cannot start while estop" in start.result(0)
    assert not bench.arm.sent


def test_a_reset_that_nobody_waits_for_any_more_is_not_granted():
    bench = pressed(Bench().run(2))
    assert outcome(bench.controller.request(Event.RESET_ESTOP), 0.0) == SILENT
    assert bench.run(3).state is State.ESTOP


def test_a_stop_that_nobody_waits_for_any_more_is_obeyed():
    bench = Bench().start().run(60)
    assert outcome(bench.controller.request(Event.ESTOP, "pressed"), 0.0) == SILENT
    assert bench.run(60).state is State.ESTOP


# ------------------------------------------------------------ an arm that learns


def test_it_ends_the_episode_as_truncated_and_somebody_is_asked_after_the_reset():
    bench, order = started(), []
    bench.step()
    bench.later(3, lambda: bench.env.estop("pressed"))
    _, reward, terminated, truncated, _ = bench.step()
    assert (reward[0], terminated[0], truncated[0]) == (0.0, False, True)
    bench.driven.run(50)
    recover, sent = bench.scene.recover, len(bench.arm.sent)
    bench.scene.recover = lambda reason: order.append(("recover", bench.env.estopped)) or recover(reason)

    def reset():
        order.append(("reset", len(bench.arm.sent) - sent))
        bench.env.reset_estop()

    bench.later(round(30.0 / PERIOD), reset)  # longer than anything else may take
    bench.env.reset(seed=[9])
    assert order == [("reset", 0), ("recover", False)]
    assert bench.scene.reasons == ["pressed"]
    assert bench.step()[3].tolist() == [False]


def test_between_episodes_and_while_the_scene_is_seen_to_it_holds_as_well():
    bench = started(max_episode_steps=1)
    bench.step()
    bench.env.estop("first")
    bench.later(20, bench.env.reset_estop)
    recover = bench.scene.recover

    def again(reason):
        recover(reason)
        if reason == "first":
            bench.env.estop("second")
            bench.driven.run(2)
            bench.later(20, bench.env.reset_estop)
        assert reason == "first" or not bench.env.estopped

    bench.scene.recover = again
    bench.env.reset(seed=[1])
    assert bench.scene.reasons == ["first", "second"]


def test_one_that_was_latched_before_the_first_episode_is_waited_for():
    bench = EnvBench(goes_home=True)
    bench.env.estop("pressed")
    bench.driven.run(2)
    bench.later(50, bench.env.reset_estop)
    bench.env.reset(seed=[0])
    assert bench.step()[3].tolist() == [False]
