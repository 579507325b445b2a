"""The monitor's rules, and its numbers from validation episodes."""

import dataclasses
import json

import monitor_toys
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.monitor_fitting import Watched, fit, rising, truths, watch
from robolearn.monitoring import FAILED, LOST, OUTCOMES, RUNNING, STALLED, SUCCESS, Monitor, MonitorSettings
from robolearn.schema import Progress

RULES = MonitorSettings(
    num_stages=3,
    done_at=0.8,
    done_frames=3,
    held_frames=3,
    eps=0.02,
    stall_frames=(10, 20, 10),
    recovery_frames=15,
    confidence={FAILED: ((0.0, 30.0), (0.6, 0.9))},
)


def outcomes(frames, rules=RULES):
    monitor = Monitor(rules)
    return [monitor.update(Progress(*frame)).outcome for frame in frames]


def rise(steps, *, stages=3):
    """Frames (stage, progress, success) that rise by `steps`, and stay done for a while."""
    values = np.clip(np.cumsum(steps), 0, 1)
    frames = [(min(int(v * stages), stages), float(v), 1.0 if v >= 1 else 0.1) for v in values]
    return frames + [(stages, 1.0, 1.0)] * 10


@given(
    st.lists(st.floats(0.021, 0.3), min_size=60, max_size=60),
    st.integers(0, 5),
    st.integers(1, 8),
    st.integers(1, 4),
    st.integers(0, 40),
)
@settings(max_examples=100, deadline=None)
def test_a_rise_to_done_is_running_and_then_success(steps, pause, done_frames, held_frames, recovery):
    rules = dataclasses.replace(RULES, done_frames=done_frames, held_frames=held_frames, recovery_frames=recovery)
    frames = rise([step for one in steps for step in (one, *[0.0] * pause)])
    told = outcomes(frames, rules)
    assert set(told) <= {RUNNING, SUCCESS}
    assert told[-1] == SUCCESS
    assert told == sorted(told, key=[RUNNING, SUCCESS].index)


@given(st.lists(st.floats(0.021, 0.3), min_size=60, max_size=60))
@settings(max_examples=50, deadline=None)
def test_a_success_played_backwards_is_lost_and_no_success(steps):
    frames = rise(steps)[::-1]
    told = outcomes(frames + [frames[-1]] * 30)
    assert LOST in told
    assert told[-1] == FAILED
    assert SUCCESS not in told[told.index(LOST) :]


@given(st.integers(0, 2), st.floats(0, 1), st.lists(st.floats(-0.01, 0.01), min_size=80, max_size=80))
@settings(max_examples=50, deadline=None)
def test_standing_still_is_running_then_stalled_then_failed(stage, value, noise):
    told = outcomes([(stage, value + wiggle, 0.3) for wiggle in noise])
    limit = RULES.stall_frames[stage]
    assert told[: limit + 1] == [RUNNING] * (limit + 1)
    assert told[limit + 1 : limit + 16] == [STALLED] * 15
    assert told[limit + 16 :] == [FAILED] * (80 - limit - 16)


def test_what_is_dropped_is_lost_until_it_is_back():
    up = [(1, 0.4 + 0.03 * i, 0.0) for i in range(8)] + [(2, 0.7, 0.0)] * 5
    down, again = [(1, 0.4, 0.0)] * 6, [(2, 0.75, 0.0)] * 5
    told = outcomes(up + down + again)
    assert told == [RUNNING] * 15 + [LOST] * 6 + [RUNNING] * 3  # three frames each until it is believed


def test_the_stage_is_where_the_trouble_began():
    monitor = Monitor(RULES)
    for frame in [(1, 0.4, 0.0)] * 40:
        verdict = monitor.update(Progress(*frame))
    assert (verdict.outcome, verdict.stage) == (FAILED, 1)
    monitor.reset()
    for frame in [(2, 0.8, 0.0)] * 5 + [(0, 0.1, 0.0)] * 5 + [(1, 0.2, 0.0)] * 2:
        verdict = monitor.update(Progress(*frame))
    assert (verdict.outcome, verdict.stage) == (LOST, 0)


def test_one_frame_alone_says_nothing():
    steady = [(2, 0.7 + 0.03 * i, 0.1) for i in range(9)]
    steady[4] = (0, 0.1, 0.0)
    steady[7] = (3, 1.0, 1.0)
    assert outcomes(steady) == [RUNNING] * 9


def test_confidence_comes_from_the_table_and_is_even_where_there_is_none():
    monitor = Monitor(RULES)
    told = [monitor.update(Progress(0, 0.1, 0.0)) for _ in range(60)]
    assert {(one.outcome, one.confidence) for one in told} == {
        (RUNNING, 0.5),
        (STALLED, 0.5),
        (FAILED, 0.6),
        (FAILED, 0.9),
    }
    assert told[-1].confidence == 0.9


def test_its_memory_does_not_grow():
    monitor = Monitor(RULES)
    rng = np.random.default_rng(0)
    for frame in rng.uniform(size=(2000, 2)):
        monitor.update(Progress(int(frame[0] * 4), float(frame[0]), float(frame[1])))
    sizes = [len(value) for value in vars(monitor).values() if hasattr(value, "__len__")]
    assert max(sizes) <= RULES.held_frames


@pytest.fixture(scope="module")
def fitted():
    return fit(monitor_toys.episodes(120, seed=0), num_stages=monitor_toys.NUM_STAGES, done_at=0.6)


def test_it_tells_successes_from_failures_that_it_has_not_seen(fitted):
    ends = {True: [], False: []}
    alarms = found = 0
    for one in monitor_toys.episodes(120, seed=1):
        told = [judged.outcome for judged in watch(fitted, one)]
        done = bool(one.done(3).any())
        ends[done].append(told[-1])
        alarms += done and FAILED in told
        found += not done and FAILED in told
    assert ends[True].count(SUCCESS) == 60
    assert found >= 57  # noise may look like a rise, and does not for long
    assert ends[False].count(FAILED) >= 54
    assert alarms <= 2


def test_confidence_is_how_often_verdicts_are_right(fitted):
    """Episodes count once for each verdict, as in the fit."""
    fresh = monitor_toys.episodes(100, seed=2)
    for outcome in OUTCOMES:
        said, right = [], []
        for one in fresh:
            monitor = Monitor(fitted)
            frames = zip(one.stage, one.progress, one.success, strict=True)
            told = [monitor.update(Progress(int(a), float(b), float(c))) for a, b, c in frames]
            here = np.array([verdict.outcome == outcome for verdict in told])
            if here.any():
                said.append(np.mean([verdict.confidence for verdict in told if verdict.outcome == outcome]))
                right.append(truths(outcome, one, 3)[here].mean())
        assert len(said) > 10
        assert np.mean(said) == pytest.approx(np.mean(right), abs=0.08), outcome


def test_its_numbers_follow_the_successes(fitted):
    slow = [
        Watched(*(np.repeat(getattr(one, name), 2) for name in Watched.__dataclass_fields__))
        for one in monitor_toys.episodes(120, seed=0)
    ]
    half_speed = fit(slow, num_stages=3, done_at=0.6)
    for mine, its in zip(fitted.stall_frames, half_speed.stall_frames, strict=True):
        assert its == pytest.approx(2 * mine, rel=0.1, abs=3)
    assert half_speed.eps == pytest.approx(fitted.eps, rel=0.01)
    assert half_speed.recovery_frames == pytest.approx(2 * fitted.recovery_frames, rel=0.2)


def test_without_a_success_there_is_no_monitor():
    failures = [one for one in monitor_toys.episodes(6, seed=0) if not one.done(3).any()]
    with pytest.raises(UserError, match="no validation episode succeeded"):
        fit(failures, num_stages=3, done_at=0.6)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0.1, 2.0)), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_a_higher_score_is_never_less_sure(rows):
    scores, values, weights = (np.array(column, float) for column in zip(*rows, strict=True))
    lowest, levels = rising(scores, values, weights)
    assert list(lowest) == sorted(set(lowest))
    assert lowest[0] == scores.min()
    assert list(levels) == sorted(levels)
    assert all(0 < level < 1 for level in levels)


def test_isotonic_regression_pools_what_falls():
    scores, values = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.0, 1.0])
    assert rising(scores, values, np.full(4, 1000.0))[0] == (0.0, 1.0, 3.0)
    assert rising(scores, values, np.full(4, 1000.0))[1] == pytest.approx((0.0, 0.5, 1.0), abs=1e-3)


def test_a_file_gives_the_settings_back(fitted, tmp_path):
    fitted.save(tmp_path / "monitor.json")
    assert MonitorSettings.load(tmp_path / "monitor.json") == fitted


@pytest.mark.parametrize(
    "change",
    [
        {"stall_frames": [3]},
        {"done_frames": 0},
        {"confidence": {"stuck": [[0.0], [0.5]]}},
        {"confidence": {"failed": [[0.0], []]}},
        {"further": 1},
        {"stall_frames": None},
    ],
)
def test_a_file_of_something_else_is_refused(change, tmp_path):
    path = tmp_path / "monitor.json"
    path.write_text(json.dumps(RULES.to_dict() | change))
    with pytest.raises(UserError, match="monitor"):
        MonitorSettings.load(path)
    with pytest.raises(UserError, match="holds no settings"):
        MonitorSettings.load(tmp_path / "nothing.json")
