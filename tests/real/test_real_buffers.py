import gc
import sys
import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robolearn.real.chunk_buffer import ChunkBuffer
from robolearn.real.realtime import collect_garbage, sleep_until, undisturbed
from robolearn.real.state_machine import TRANSITIONS, Event, State, StateMachine
from robolearn.real.statistics import CAPACITY, LoopStatistics, Recent, summarise, write_json
from robolearn.schema import ActionChunk


def chunk(t0, value, horizon=3):
    return ActionChunk(np.full((horizon, 2), value, np.float32) + np.arange(horizon)[:, None], t0=t0, dt=0.05)


def test_an_empty_buffer_says_none():
    assert ChunkBuffer().action(0.0) is None


def test_the_buffer_answers_by_time_and_ends_with_the_plan():
    buffer = ChunkBuffer()
    buffer.put(chunk(1.0, 10))
    assert [buffer.action(1.0 + k * 0.05)[0] for k in range(3)] == [10, 11, 12]
    assert buffer.action(1.0 + 3 * 0.05) is None
    assert buffer.action(0.9) is None


def test_a_newer_chunk_replaces_and_an_older_one_does_not():
    buffer = ChunkBuffer()
    buffer.put(chunk(1.0, 10))
    buffer.put(chunk(1.05, 20), 2)
    buffer.put(chunk(0.95, 30), 3)
    assert buffer.number == 2
    assert buffer.action(1.05)[0] == 20
    buffer.clear()
    assert buffer.action(1.05) is None


@given(st.integers(0, 10_000), st.integers(0, 2))
def test_ticks_are_found_despite_rounding(tick, step):
    begin = 12345.678
    buffer = ChunkBuffer()
    buffer.put(chunk(begin + tick * 0.05, 0))
    assert buffer.action(begin + (tick + step) * 0.05)[0] == step


def test_only_start_makes_the_arm_move_and_fault_is_latched():
    into_active = {(state, event) for (state, event), to in TRANSITIONS.items() if to is State.ACTIVE}
    assert into_active == {(State.READY, Event.START), (State.HOLD, Event.FRESH)}
    assert {event for (state, event) in TRANSITIONS if state is State.FAULT} == {Event.STOP, Event.ESTOP}


def test_an_event_without_a_row_does_nothing():
    machine = StateMachine()
    assert not machine.handle(Event.START, "no")
    assert machine.state is State.INACTIVE
    assert machine.handle(Event.FRESH, "seen")
    assert (machine.state, machine.reason) == (State.READY, "seen")


def test_recent_keeps_the_last_values():
    recent = Recent()
    for i in range(CAPACITY + 5):
        recent.add(i)
    assert recent.count == CAPACITY + 5
    assert set(recent.values()) == set(range(5, CAPACITY + 5))


def test_summary_joins_records(tmp_path):
    statistics = LoopStatistics(joints=7, rate=250.0)
    for late in (0.001, 0.002, 0.003):
        statistics.lateness.add(late)
    statistics.latency.add(0.005)
    statistics.missed = 2
    record = statistics.to_dict()
    summary = summarise([record, record])
    assert summary["periods"] == 6
    assert summary["missed_periods"] == 4
    assert summary["lateness_ms"] == {"p50": 2.0, "p99": 3.0, "max": 3.0}
    assert sum(summary["latency_histogram"]["counts"]) == 2
    assert summarise([])["lateness_ms"]["p50"] is None
    write_json(tmp_path / "new" / "loop.json", record)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["loop.json"]


def test_sleep_until_does_not_return_early():
    deadline = time.monotonic() + 0.005
    assert sleep_until(deadline) >= 0
    assert time.monotonic() >= deadline
    assert sleep_until(deadline - 1.0) >= 1.0


def test_undisturbed_restores_the_interpreter():
    before = sys.getswitchinterval()
    with undisturbed():
        assert sys.getswitchinterval() < before
        collect_garbage(False)
        assert not gc.isenabled()
    assert sys.getswitchinterval() == before
    assert gc.isenabled()
