"""What an arm tells of its control steps is true, however long somebody thinks and whatever stops it."""

import numpy as np
import pytest
from arm_bench import BACK, STEPS, started
from test_real_controller import FORWARD

from robolearn.real.arm_env import MOST_BEHIND
from robolearn.real.state_machine import State

STILL = (0, 0, 0, 0, FORWARD[-1])


class Record:
    """What the controller observed at each control step, and which answer a command used in it."""

    def __init__(self, bench):
        self.observed, self.executed, self._aimed = [], {}, None
        controller, handover = bench.driven.controller, bench.env._handover
        command, send, ask = bench.env._space.command, controller._send, handover.ask

        def aim(reference, measured, action):
            self._aimed = action.astype(np.float32)
            return command(reference, measured, action)

        def sent(position):
            if controller.machine.state is State.ACTIVE and controller._step.answered:
                self.executed[controller._step.number] = self._aimed
            send(position)

        def asked(tick, observation):
            self.observed.append(observation["observation.state"].copy())
            return ask(tick, observation)

        bench.env._space.command, controller._send, handover.ask = aim, sent, asked


@pytest.mark.parametrize("seed", range(6))
def test_every_step_is_told_with_what_was_executed_in_it(seed):
    rng = np.random.default_rng(seed)
    bench = started(max_episode_steps=10_000, deadline=0.045)
    record = Record(bench)
    record.observed.append(bench.env._observation["observation.state"].copy())
    width, late = record.observed[0][7], 0
    for k in range(60):
        bench.driven.run(int(rng.choice((0, 2, STEPS - 1, STEPS, 3 * STEPS), p=(0.6, 0.1, 0.1, 0.1, 0.1))))
        bench.person = BACK * rng.uniform(0.1, 1.0, 5).astype(np.float32) if rng.random() < 0.2 else None
        action = FORWARD * rng.uniform(0.1, 1.0, 5).astype(np.float32)
        observation, *_, info = bench.step(action)
        np.testing.assert_array_equal(observation["observation.state"][0], record.observed[k + 1])
        told = info["action"][0]
        if k in record.executed:
            np.testing.assert_array_equal(told, record.executed[k])
        else:
            np.testing.assert_allclose(told, (0, 0, 0, 0, width))
            late += 1
        width = told[-1]
    assert 0 < late < 60
    assert 0 < len(record.executed) < 60


def test_steps_that_were_missed_are_told_one_after_the_other_and_then_actions_count_again():
    bench = started()
    bench.step()
    bench.driven.run(20 * STEPS)
    here, periods = bench.arm.pose.copy(), bench.driven.periods
    bench.driven.run(STEPS)
    np.testing.assert_allclose(bench.arm.pose, here, atol=1e-9)
    missed = bench.env._handover.waiting
    assert missed >= 20
    for _ in range(missed):
        *_, truncated, info = bench.step(BACK)
        np.testing.assert_allclose(info["action"][0], STILL)
        assert not truncated[0]
    assert bench.driven.periods == periods + STEPS
    for _ in range(2):
        *_, info = bench.step(BACK)
    np.testing.assert_array_equal(info["action"][0], BACK)


def test_who_falls_far_behind_ends_the_episode_and_needs_nobody():
    bench = started()
    bench.step()
    bench.driven.run(round((MOST_BEHIND / 0.05 + 6) * STEPS))
    assert bench.step()[3].tolist() == [True]
    bench.env.reset(seed=[8])
    assert bench.scene.reasons == []
    assert bench.env._handover.waiting == 0


def test_what_is_said_while_steps_are_caught_up_with_is_about_the_newest():
    bench = started()
    bench.step()
    bench.driven.run(3 * STEPS)
    bench.button.said = True
    missed = bench.env._handover.waiting
    ends = [bench.step()[2][0] for _ in range(missed)]
    assert ends == [False] * (missed - 1) + [True]


@pytest.mark.parametrize("person", [False, True])
def test_what_was_executed_before_a_stop_is_told(person):
    bench = started()
    for _ in range(3):
        bench.step()
    bench.person = 0.5 * BACK if person else None
    bench.later(4, bench.env.stop)
    observation, *_, truncated, info = bench.step(BACK)
    assert truncated[0]
    np.testing.assert_array_equal(info["action"][0], 0.5 * BACK if person else BACK)
    assert info["intervention"].tolist() == [person]
    np.testing.assert_allclose(observation["observation.state"][0, :8], bench.arm.pose, atol=1e-6)  # where it rests


def test_an_action_that_a_fault_has_overtaken_was_not_executed():
    bench = started()
    for _ in range(3):
        bench.step()
    bench.later(0, lambda: setattr(bench.arm, "old", 1.0))
    *_, truncated, info = bench.step(BACK)
    assert truncated[0]
    np.testing.assert_allclose(info["action"][0], STILL)
    assert not info["intervention"][0]


def test_a_step_that_was_whole_before_a_stop_is_told_whole():
    bench = started()
    bench.step()
    bench.driven.run(STEPS + 2)
    record = bench.env._handover._frames[0].observation["observation.state"]
    bench.env.stop()
    bench.driven.run(60)
    observation, *_, truncated, info = bench.step(BACK)
    assert truncated[0]
    np.testing.assert_array_equal(observation["observation.state"][0], record)
    np.testing.assert_allclose(info["action"][0], STILL)
