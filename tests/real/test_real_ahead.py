"""The server that infers ahead: answers at once, chunks by time, corrections with the newest observation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from late_policy import DIM, HORIZON, N_ACTION_STEPS, SCHEMA, SLOPE, LatePolicy, observation, read
from late_policy import Bench as LateBench
from test_real_controller import FORWARD, HOME, ROBOT, Bench, require_within_limits

from robolearn.acting import ChunkActor
from robolearn.real.messages import OBSERVE, REPLAN, REQUEST, RESET, TELL, WATCH, pack
from robolearn.real.state_machine import State
from robolearn.real.worker import InferenceWorker

AHEAD = pytest.mark.parametrize("mode", ["rtc", "ensembling", "blending"])


class Recorded:
    """Adds ten times the observed number."""

    def __init__(self):
        self.seen = []

    def __call__(self, observation, base):
        self.seen.append(float(observation["observation.state"][0, 0]))
        return base + 10 * observation["observation.state"][:, :1]


def in_process(steps, number, *, correction=None, n_action_steps=N_ACTION_STEPS, policy=None):
    """What `ChunkActor` does, as in simulation."""
    policy = policy or LatePolicy()
    policy.n_action_steps = n_action_steps
    actor = ChunkActor(policy, 1, correction)
    actor.reset([0])
    seen = ({key: value[None] for key, value in observation(number(step)).items()} for step in range(steps))
    return [actor.act(frame)[0, 0] for frame in seen]


def values(executed):
    return [None if row is None else row[0] for row in executed]


@pytest.mark.parametrize("correction", [None, Recorded])
def test_without_delay_the_arm_does_what_the_policy_does_in_simulation(correction):
    policy = LatePolicy(spread=1.0)
    every = {"execution_horizon": N_ACTION_STEPS}
    bench = LateBench("rtc", policy=policy, correction=correction and correction(), **every)
    found = values(bench.run(20, float))
    expected = in_process(20, float, correction=correction and correction(), policy=LatePolicy(spread=1.0))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert [frozen for *_, frozen, _ in policy.asked] == [0] * 4


def test_without_delay_ensembling_of_the_newest_alone_is_planning_at_every_step():
    bench = LateBench("ensembling", ensembling_decay=0.0)
    found = values(bench.run(12, float))
    chunks = [step + SLOPE * np.arange(HORIZON) for step in range(12)]
    reaching = [range(max(0, step - HORIZON + 1), step + 1) for step in range(12)]
    expected = [np.mean([chunks[k][step - k] for k in reaching[step]]) for step in range(12)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@AHEAD
def test_every_observation_is_answered_at_once_whatever_inference_does(mode):
    bench = LateBench(mode, delays=[0, 10**6])
    for step in range(20):
        bench.run(1)
        assert bench.answers[0].tick == step
    # the first chunk, as far as it goes; then the arm is left to hold
    assert [row is not None for row in bench.executed] == [True] * HORIZON + [False] * (20 - HORIZON)


@AHEAD
@given(delays=st.lists(st.integers(0, 5), min_size=30, max_size=30))
def test_chunks_are_used_by_time_whatever_the_delays(mode, delays):
    # all chunks of this policy agree on what to do when: late or not, each step's action is its own
    class Agreeing(LatePolicy):
        def predict_chunk(self, observation, noise=None, n_samples=1):
            chunk = super().predict_chunk(observation, noise, n_samples)
            chunk.values[:] += (1 - SLOPE) * np.arange(HORIZON, dtype=np.float32)[:, None]
            return chunk

    bench = LateBench(mode, policy=Agreeing(), delays=delays)
    for step, action in enumerate(values(bench.run(40, float))):
        assert action is None or action == pytest.approx(step, abs=1e-4)
    first = delays[0]
    assert values(bench.executed)[:first] == [None] * first
    if mode != "ensembling" and max(delays) <= HORIZON - N_ACTION_STEPS - 1:
        assert None not in values(bench.executed)[first:]


@given(delays=st.lists(st.integers(0, 4), min_size=30, max_size=30))
def test_what_is_frozen_is_executed_and_is_the_chunk_before(delays):
    policy = LatePolicy(spread=5.0)
    # a chunk is not overtaken before what it was frozen to is executed
    bench = LateBench("rtc", policy=policy, delays=delays, execution_horizon=4)
    executed = bench.run(40, float)
    for begin, left_over, frozen, largest in policy.asked:
        assert largest == 5.0
        for i in range(min(frozen, len(left_over), 40 - begin)):
            assert executed[begin + i][0] == left_over[i, 0]


def test_the_expected_delay_follows_the_longest_that_was_measured():
    bench = LateBench("rtc", delays=[2, 1, 0, 0, 0, 0], delay_buffer=2)
    bench.run(30)
    assert [frozen for *_, frozen, _ in bench.policy.asked][:6] == [2, 2, 1, 0, 0, 0]


def test_a_correction_sees_the_newest_observation_in_every_step():
    correction = Recorded()
    bench = LateBench("rtc", correction=correction, delays=[3] * 10)
    found = values(bench.run(20, float))
    assert sorted(set(correction.seen)) == list(range(3, 20))
    base = values(LateBench("rtc", delays=[3] * 10).run(20, float))
    assert found[:3] == base[:3] == [None] * 3
    np.testing.assert_allclose(found[3:], np.array(base[3:]) + 10 * np.arange(3, 20), rtol=1e-6)
    # nor does it enter what the next chunk goes on with
    assert max(left_over.max() for _, left_over, *_ in bench.policy.asked) < 20


def test_the_history_has_a_frame_for_every_step_even_of_chunks_that_are_late():
    bench = LateBench("blending", delays=[2] * 10, execution_horizon=4)
    bench.run(11, float)
    assert bench.policy.seen == [[0.0, 0.0], [3.0, 4.0], [7.0, 8.0]]


def test_a_new_activation_forgets_what_is_being_inferred():
    bench = LateBench("rtc", policy=LatePolicy(spread=1.0), delays=[0, 10**6], execution_horizon=4)
    first = values(bench.run(3))
    bench.run(4)
    assert bench.jobs
    bench.reset(epoch=2)
    bench.delays = iter(())
    bench.executed.clear()
    assert values(bench.run(3)) == first  # the same seed: the same noise
    stale = bench.jobs.pop(0) if bench.jobs else None
    assert stale is None or bench.server.finish() is None


class Pipe:
    """Both pipes of a worker, to a server in this process."""

    def __init__(self, bench):
        self.bench, self.waiting = bench, []

    def send(self, message):
        self.keep(self.bench.server.handle([message]))

    def keep(self, answer):
        if answer is not None:
            self.waiting.append(answer)

    def poll(self):
        return bool(self.waiting)

    def recv_bytes(self):
        return self.waiting.pop(0)


class Wired(InferenceWorker):
    """A worker whose process is `bench`; inference takes what `delays` says, in control periods."""

    alive = True

    def __init__(self, bench):
        self.bench, self.instruction, self.at_once, self._schema, self._action_dim = bench, "", False, SCHEMA, DIM
        self._requests = self._answers = Pipe(bench)
        self._epoch = self._sent = self._answered = 0

    @property
    def now(self):
        return self.bench.step

    @now.setter
    def now(self, period):
        self.bench.step = period
        self._answers.keep(self.bench.finish(late=False))


class Steady(LatePolicy):
    """Goes forward."""

    def predict_chunk(self, observation, noise=None, n_samples=1):
        chunk = super().predict_chunk(observation, noise, n_samples)
        chunk.values[:] = FORWARD
        return chunk


@AHEAD
@pytest.mark.parametrize("late", [60, 250])  # periods: within the plan of 100, and beyond it and the time-out
def test_the_arm_goes_on_after_inference_that_stood_still(mode, late):
    bench = LateBench(mode, policy=Steady(), delays=[1, 1, late], clock=lambda: bench.step * 0.004)
    control = Bench(inference=Wired(bench), chunk_timeout=0.2).start().run(40)
    held = False
    for _ in range(400):
        held |= control.run(1).state is State.HOLD
    assert held == (late > 100)
    assert control.state is State.ACTIVE
    assert not bench.jobs
    tool = [ROBOT.chain.forward(pose[:-1]).tool_pos[0] for pose in (HOME, control.arm.pose)]
    assert tool[1] - tool[0] > 0.1
    require_within_limits(control.arm.sent[: 40 if held else None])


def handled(bench, kind, tick, number):
    answer = bench.server.handle([REQUEST.pack(kind, 1, tick) + pack(SCHEMA, observation(number))])
    return None if answer is None else read(answer).values


@AHEAD
def test_after_a_person_the_plan_is_a_new_one(mode):
    bench = LateBench(mode, delays=[0, 10**6, 0])
    bench.run(6, float)
    assert len(bench.jobs) == 1  # of before the person
    bench.step = 7
    assert len(handled(bench, WATCH, 6, 6.0)) == len(handled(bench, WATCH, 7, 7.0)) == 0
    bench.step = 8
    assert len(handled(bench, REPLAN, 8, 8.0)) == 0
    planned = read(bench.finish(late=False))
    assert (planned.tick, planned.chunk) == (8, 8)
    np.testing.assert_allclose(planned.values[:, 0], 8 + SLOPE * np.arange(HORIZON), rtol=1e-6)
    assert bench.policy.seen[-1] == [7.0, 8.0]  # what the person did is history
    assert not bench.policy.asked or bench.policy.asked[-1][0] < 8  # and nothing to go on with


@AHEAD
def test_a_new_instruction_begins_a_new_plan(mode):
    bench = LateBench(mode)
    bench.run(2, float)
    bench.server.handle([REQUEST.pack(TELL, 1, 0) + b"turn it"])
    assert bench.server.instruction == "turn it"
    bench.run(1, float)
    assert bench.executed[-1] == (2.0, 2)


def test_requests_of_an_older_activation_are_left_aside():
    bench = LateBench("rtc")
    message = REQUEST.pack(OBSERVE, 1, 0) + pack(SCHEMA, observation(0.0))
    assert bench.server.handle([REQUEST.pack(RESET, 5, 0), message]) is None
    assert not bench.jobs


def test_a_failure_of_inference_is_not_kept_secret():
    class Broken(LatePolicy):
        def predict_chunk(self, observation, noise=None, n_samples=1):
            raise RuntimeError("broken")

    bench = LateBench("rtc", policy=Broken())
    with pytest.raises(RuntimeError, match="broken"):
        bench.run(1)


@AHEAD
def test_warming_up_leaves_nothing_behind(mode):
    bench = LateBench(mode, policy=LatePolicy(spread=1.0))
    plain = values(bench.run(10, float))
    warmed = LateBench(mode, policy=LatePolicy(spread=1.0))
    warmed.server.warm_up()
    warmed.reset()
    assert values(warmed.run(10, float)) == plain
    if mode == "rtc":
        assert warmed.policy.asked[0][1].shape == (HORIZON, DIM)
