import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from bundle_factory import write_bundle

from robolearn.errors import UserError
from robolearn.execution import Execution
from robolearn.real import control_loop
from robolearn.real.bundle import load_bundle
from robolearn.real.control_loop import ControlLoop
from robolearn.real.messages import ANSWER, OBSERVE, REPLAN, REQUEST, RESET, TELL, WATCH, pack, packed_size, unpack
from robolearn.real.server import Server
from robolearn.real.state_machine import Event, State
from robolearn.real.worker import MAX_IN_FLIGHT, InferenceWorker

ACTION = np.array((0.5, -0.5, 0.0, 1.0, -1.0))


def wait_for(condition):
    limit = time.monotonic() + 20
    while not (value := condition()):
        assert time.monotonic() < limit
        time.sleep(0.001)
    return value


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(write_bundle(tmp_path_factory.mktemp("worker") / "b", action=ACTION))


@pytest.fixture
def worker(bundle):
    worker = InferenceWorker(bundle)
    worker.start()
    yield worker
    worker.close()


def observation(schema, value=0.0):
    return {key: np.full(schema[key].shape, value, np.float32) for key in schema.observation_keys}


def test_packed_observations_come_back(bundle):
    original = observation(bundle.schema, 0.5)
    restored = unpack(bundle.schema, pack(bundle.schema, original))
    for key, array in restored.items():
        np.testing.assert_array_equal(array[0], original[key])


def test_answers_come_from_another_process(worker, bundle):
    assert worker.pid != os.getpid()
    worker.reset(epoch=1, seed=3)
    assert worker.ask(0, observation(bundle.schema))
    answer = wait_for(worker.poll)
    assert (answer.epoch, answer.tick) == (1, 0)
    np.testing.assert_allclose(answer.actions[0, :4], ACTION[:4] * bundle.schema.action.high[:4], atol=1e-6)
    assert len(answer.actions) == bundle.policy.horizon


@pytest.mark.parametrize("ticks", [(5, 3), (3, 5)])
def test_of_answers_that_wait_together_the_one_to_the_newest_tick_counts(bundle, ticks):
    worker = InferenceWorker(bundle)
    worker._answers, answers = multiprocessing.Pipe(duplex=False)
    dim = bundle.schema.action.shape[0]
    for tick in ticks:
        answers.send_bytes(ANSWER.pack(0, tick, 0.0, tick) + np.full((2, dim), tick, np.float32).tobytes())
    answer = worker.poll()
    assert (answer.tick, answer.chunk, answer.actions[0, 0]) == (5, 5, 5.0)
    assert worker._answered == 5
    answers.send_bytes(ANSWER.pack(0, 6, 0.0, -1))  # who only watches is answered with nothing
    assert worker.poll() is None


def test_answers_of_an_older_activation_are_dropped(worker, bundle):
    worker.reset(epoch=1, seed=0)
    worker.ask(0, observation(bundle.schema))
    worker.reset(epoch=2, seed=0)
    worker.ask(7, observation(bundle.schema))
    answer = wait_for(worker.poll)
    assert (answer.epoch, answer.tick) == (2, 7)


def test_a_stopped_process_never_blocks_and_answers_the_newest_when_it_goes_on(worker, bundle):
    worker.reset(epoch=1, seed=0)
    worker.ask(0, observation(bundle.schema))
    wait_for(worker.poll)
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        accepted = [worker.ask(tick, observation(bundle.schema)) for tick in range(1, 1000)]
    finally:
        os.kill(worker.pid, signal.SIGCONT)
    assert sum(accepted) == MAX_IN_FLIGHT
    ticks = [wait_for(worker.poll).tick]
    while ticks[-1] < MAX_IN_FLIGHT:
        ticks.append(wait_for(worker.poll).tick)
    assert worker.ask(1000, observation(bundle.schema))


def test_a_killed_process_is_noticed(worker, bundle):
    os.kill(worker.pid, signal.SIGKILL)
    wait_for(lambda: not worker.alive)
    worker.reset(epoch=1, seed=0)
    worker.ask(0, observation(bundle.schema))
    assert worker.poll() is None


def test_a_bundle_that_cannot_be_loaded_fails_the_start(bundle, tmp_path):
    path = write_bundle(tmp_path / "b")
    loaded = load_bundle(path)
    (path / "denoiser.onnx").unlink()
    with pytest.raises(UserError, match="did not start"):
        InferenceWorker(loaded).start()


def test_the_newest_request_wins(bundle):
    server = Server(bundle)
    data = pack(bundle.schema, observation(bundle.schema))
    messages = [REQUEST.pack(RESET, 1, 0), *(REQUEST.pack(OBSERVE, 1, tick) + data for tick in range(3))]
    answer = server.handle(messages)
    assert struct.unpack_from("<qq", answer) == (1, 2)
    assert server.handle([REQUEST.pack(OBSERVE, 0, 9) + data]) is None


def test_a_policy_is_told_what_the_activation_says(bundle):
    server, told = Server(bundle), []
    server.actor.act_chunk = lambda seen: told.append(seen["task"].tolist()) or np.zeros((1, 1, 5), np.float32)
    server.warm_up()
    data = pack(bundle.schema, observation(bundle.schema))
    for epoch, instruction in ((1, "put it down"), (2, "hebe ihn auf, bitte schön")):
        server.handle([REQUEST.pack(RESET, epoch, 0) + instruction.encode()])
        server.handle([REQUEST.pack(OBSERVE, epoch, 0) + data])
    assert told == [["lift"], ["put it down"], ["hebe ihn auf, bitte schön"]]


def test_the_instruction_is_the_bundles_until_somebody_says_otherwise(bundle):
    worker, sent = InferenceWorker(bundle), []
    worker._send = sent.append
    worker.reset(epoch=1, seed=0)
    worker.instruction = "put it down"
    worker.reset(epoch=2, seed=0)
    assert [message[REQUEST.size :] for message in sent] == [b"lift", b"put it down"]


def test_dropped_ticks_use_up_their_actions(bundle):
    data = pack(bundle.schema, observation(bundle.schema))
    lengths = []
    for ticks in ((0, 1), (0, 3)):
        server = Server(bundle)
        server.handle([REQUEST.pack(RESET, 1, 0)])
        for tick in ticks:
            answer = server.handle([REQUEST.pack(OBSERVE, 1, tick) + data])
        lengths.append((len(answer) - struct.calcsize("<qqd")) // 20)
    # chunks of 4 with 2 executed: tick 1 is second in its chunk, tick 3 begins one, of what is seen then
    assert lengths == [3, 4]


@pytest.mark.parametrize("ticks", [(0, 5, 13), (0, 1, 2, 9)])
def test_nothing_is_inferred_for_ticks_that_were_dropped(bundle, ticks):
    data = pack(bundle.schema, observation(bundle.schema))
    server, inferred = Server(bundle), []
    predict = server.policy.predict_chunk
    server.policy.predict_chunk = lambda *args, **more: inferred.append(server.tick) or predict(*args, **more)
    server.handle([REQUEST.pack(RESET, 1, 0)])
    for tick in ticks:
        before = len(inferred)
        server.handle([REQUEST.pack(OBSERVE, 1, tick) + data])
        assert len(inferred) - before <= 1


def test_a_watched_observation_is_history_and_a_replanned_one_begins_a_chunk(bundle):
    """Chunks of 4 with 2 executed: what is left of the answer says how far into its chunk a tick is."""
    server = Server(bundle)
    server.handle([REQUEST.pack(RESET, 1, 0)])

    def ask(kind, tick, value=0.0):
        answer = server.handle([REQUEST.pack(kind, 1, tick) + pack(bundle.schema, observation(bundle.schema, value))])
        return (len(answer) - ANSWER.size) // 20

    assert [ask(OBSERVE, 0), ask(OBSERVE, 1), ask(OBSERVE, 2)] == [4, 3, 4]
    assert [ask(WATCH, 3, value=0.3), ask(WATCH, 4, value=0.4)] == [0, 0]
    state = server.actor.read()["observation.state"][0, :, 0]
    np.testing.assert_allclose(state, (0.3, 0.4))
    assert ask(REPLAN, 5, value=0.5) == 4
    state = server.actor.read()["observation.state"][0, :, 0]
    np.testing.assert_allclose(state, (0.4, 0.5))
    assert ask(OBSERVE, 6) == 3


def test_a_request_to_plan_anew_is_not_lost_with_an_observation_that_is_passed_over(bundle):
    server = Server(bundle)
    server.handle([REQUEST.pack(RESET, 1, 0)])
    data = pack(bundle.schema, observation(bundle.schema))
    server.handle([REQUEST.pack(OBSERVE, 1, 0) + data])
    planned = []
    plan = server.actor._plan
    server.actor._plan = lambda ids: planned.append(1) or plan(ids)
    server.handle([REQUEST.pack(REPLAN, 1, 1) + data, REQUEST.pack(OBSERVE, 1, 2) + data])
    assert planned


def test_who_watches_is_answered_with_nothing(worker, bundle):
    worker.reset(epoch=1, seed=0)
    for tick in range(3 * MAX_IN_FLIGHT):  # each is answered, else there would be too many at once
        wait_for(partial(try_to_watch, worker, tick, observation(bundle.schema)))
    while worker._answered < 3 * MAX_IN_FLIGHT - 1:
        assert worker.poll() is None
    worker.ask(99, observation(bundle.schema), replan=True)
    assert wait_for(worker.poll).tick == 99


def try_to_watch(worker, tick, seen):
    assert worker.poll() is None
    return worker.watch(tick, seen)


def test_the_loop_keeps_its_grid_and_reports_a_failure(monkeypatch):
    # not here: it would pin the memory of the whole test run
    monkeypatch.setattr(control_loop, "lock_memory", lambda: False)

    class Counting:
        def __init__(self, fail_at):
            from robolearn.real.settings import Settings
            from robolearn.real.state_machine import StateMachine
            from robolearn.real.statistics import LoopStatistics

            self.settings, self.machine = Settings(rate=500.0), StateMachine()
            self.statistics = LoopStatistics(joints=7, rate=500.0)
            self.machine.state, self.moving = State.ACTIVE, True
            self.times, self.fail_at, self.braked = [], fail_at, 0

        def fail(self, reason):
            self.machine.handle(Event.FAULT, reason)

        def brake(self):
            self.braked += 1
            self.moving = self.braked < 3

        def period(self, now):
            self.times.append(now)
            if len(self.times) == self.fail_at:
                raise RuntimeError("broken")

    controller = Counting(fail_at=30)
    loop = ControlLoop(controller)
    loop.start()
    wait_for(lambda: not loop.running)
    assert "broken" in loop.failure
    assert (controller.braked, controller.machine.state) == (3, State.FAULT)
    steps = np.diff(controller.times) / 0.002
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
    assert (np.round(steps) >= 1).all()
    assert controller.statistics.lateness.count == 29
    skipped_before_last = steps[:-1].sum() - 28
    assert controller.statistics.missed >= round(skipped_before_last)


def test_the_run_time_imports_neither_torch_nor_hydra():
    modules = "bundle worker controller control_loop offer statistics ros2.policy_controller ros2.availability"
    code = "import importlib, sys\n"
    code += f"[importlib.import_module('robolearn.real.' + m) for m in {modules.split()}]\n"
    code += (
        "try:\n    import rclpy, robolearn.real.ros2.managed, robolearn.real.ros2.episodes\nexcept ImportError: pass\n"
    )
    code += "print(sorted({'torch', 'hydra', 'lerobot', 'mujoco'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_new_instruction_counts_at_once_only_where_that_is_asked_for(bundle):
    worker, sent = InferenceWorker(bundle), []
    worker._send = sent.append
    for at_once in (False, True):
        worker.at_once = at_once
        worker.reset(epoch=1, seed=0)
        for tick, instruction in enumerate(("lift it", "lift it", "turn it")):
            worker.instruction = f"{instruction} {at_once}"
            worker.ask(tick, observation(bundle.schema))
    kinds = [REQUEST.unpack_from(message)[0] for message in sent]
    assert kinds == [RESET, OBSERVE, OBSERVE, OBSERVE, RESET, TELL, OBSERVE, OBSERVE, TELL, OBSERVE]
    assert sent[5][REQUEST.size :] == b"lift it True"


def test_a_policy_that_is_told_something_else_plans_anew(bundle):
    server, told = Server(bundle), []
    act = server.actor.act_chunk
    server.actor.act_chunk = lambda seen: told.append(seen["task"].tolist()) or act(seen)
    data = pack(bundle.schema, observation(bundle.schema))
    server.handle([REQUEST.pack(RESET, 1, 0) + b"lift"])
    lengths = []
    for tick, also in enumerate(([], [], [], [REQUEST.pack(TELL, 1, 0) + b"turn"])):
        answer = server.handle([*also, REQUEST.pack(OBSERVE, 1, tick) + data])
        lengths.append((len(answer) - struct.calcsize("<qqd")) // 20)
    assert told == [["lift"], ["lift"], ["lift"], ["turn"]]
    assert lengths == [4, 3, 4, 4]  # chunks of 4 with 2 executed: the last would have been second in its chunk


def picture_bundle(path, size):
    return load_bundle(write_bundle(path, camera=size))


def test_pictures_are_packed_as_the_bytes_that_they_are(tmp_path):
    schema = picture_bundle(tmp_path / "b", (32, 48)).schema
    seen = observation(schema, 0.5) | {"observation.images.wrist": np.arange(32 * 48 * 3).reshape(32, 48, 3) % 256}
    data = pack(schema, seen)
    assert len(data) == packed_size(schema) == 4 * (17 + 9) + 32 * 48 * 3
    restored = unpack(schema, data)
    assert restored["observation.images.wrist"].dtype == np.uint8
    assert restored["observation.state"].dtype == np.float32
    for key, array in restored.items():
        np.testing.assert_array_equal(array[0], seen[key])


def test_large_pictures_reach_the_other_process_and_a_stopped_one_never_blocks(tmp_path):
    bundle = picture_bundle(tmp_path / "b", (480, 640))  # 0.9 MB; a pipe holds 64 KiB
    worker = InferenceWorker(bundle)
    worker.start()
    try:
        worker.reset(epoch=1, seed=0)
        seen = {key: np.zeros(bundle.schema[key].shape, bundle.schema[key].array_dtype) for key in bundle.schema}
        seen["observation.images.wrist"][...] = 200
        worker.ask(0, seen)
        answer = wait_for(worker.poll)
        # the toy's goal is the brightness of the picture
        np.testing.assert_allclose(answer.actions[0, :4] / bundle.schema.action.high[:4], 200 / 255, atol=1e-5)
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            accepted = [worker.ask(tick, seen) for tick in range(1, 100)]
            worker.reset(epoch=2, seed=0)
            accepted_anew = [worker.ask(tick, seen) for tick in range(100)]
        finally:
            os.kill(worker.pid, signal.SIGCONT)
        assert sum(accepted) == sum(accepted_anew) == MAX_IN_FLIGHT
        while wait_for(worker.poll).tick < MAX_IN_FLIGHT - 1:
            pass
    finally:
        worker.close()


AHEAD = pytest.mark.parametrize("mode", ["rtc", "ensembling", "blending"])


@pytest.fixture
def late_worker(bundle):
    """A function that starts a worker whose inference takes 60 ms longer."""
    started = []

    def start(mode):
        worker = InferenceWorker(bundle, Execution(execution=mode, execution_horizon=1, inference_delay=0.06))
        worker.start()
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.close()


@AHEAD
def test_observations_are_answered_while_a_chunk_is_inferred(late_worker, bundle, mode):
    worker = late_worker(mode)
    worker.reset(epoch=1, seed=0)
    chunks = [-1]
    # the first chunk is there before the second is asked for, then each step is answered before its own chunk is
    for tick in range(12):
        assert worker.ask(tick, observation(bundle.schema))
        limit, answer = time.monotonic() + 20, None
        while answer is None or answer.tick < tick:
            answer = worker.poll() or answer
            if answer is None and worker._answered == tick and chunks == [-1]:
                break  # nothing is planned yet
            assert time.monotonic() < limit
            time.sleep(0.001)
        if answer is not None:
            chunks.append(answer.chunk)
            np.testing.assert_allclose(answer.actions[0, :4], ACTION[:4] * bundle.schema.action.high[:4], atol=1e-6)
            assert answer.duration >= 0.06
        time.sleep(0.05)
    assert chunks == sorted(chunks)
    assert chunks[-1] > 3
    assert len(chunks) > 8


def test_late_inference_in_turn_is_late_by_the_delay_alone_where_a_chunk_begins(bundle):
    server = Server(bundle, inference_delay=0.05)
    data = pack(bundle.schema, observation(bundle.schema))
    server.handle([REQUEST.pack(RESET, 1, 0)])
    answers = [ANSWER.unpack_from(server.handle([REQUEST.pack(OBSERVE, 1, tick) + data])) for tick in range(4)]
    # chunks of 4 with 2 executed
    assert [chunk for *_, chunk in answers] == [0, 0, 2, 2]
    assert [duration >= 0.05 for *_, duration, _ in answers] == [True, False, True, False]


def test_a_bundle_that_cannot_be_executed_so_is_refused_before_the_start(bundle):
    with pytest.raises(UserError, match="execution_horizon below"):
        InferenceWorker(bundle, Execution(execution="rtc", execution_horizon=4))
