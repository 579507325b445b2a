"""Joining chunks by time, whatever the delays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from late_policy import DIM, HORIZON, N_ACTION_STEPS, LatePolicy

from robolearn.errors import UserError
from robolearn.execution import Execution
from robolearn.on_top import BestOf, Steered
from robolearn.real.stitching import Planned, Stitcher, crossfaded, ensembled, require_fit

AHEAD = ("rtc", "ensembling", "blending")
LENGTHS = st.lists(st.integers(0, HORIZON + 2), min_size=1, max_size=12)


def chunk(rng):
    return rng.uniform(-1, 1, (HORIZON, DIM)).astype(np.float32)


def played(stitcher, delays, rng, *, guided=lambda values, left_over, delay: values, steps=60):
    """Execute chunks that take these delays; return each step's action, or None, and what joined the plan where."""
    waiting, delays, actions, joined = None, iter(delays * 60), [], []
    for step in range(steps):
        # what arrives between two steps counts from the later one on
        for _ in range(2):
            if waiting is not None and waiting[0] <= step:
                joined.append((step, stitcher.asked, waiting[1]))
                stitcher.put(waiting[1], step)
                waiting = None
            if stitcher.due(step):
                values = guided(chunk(rng), stitcher.left_over(step), stitcher.delay)
                stitcher.ask(step)
                waiting = (step + next(delays), values)
        rest = stitcher.actions(step)
        actions.append(rest[0] if len(rest) else None)
    return actions, joined


@pytest.mark.parametrize("mode", ["rtc", "blending"])
@given(delays=LENGTHS, seed=st.integers(0, 99))
def test_an_action_is_executed_at_the_time_that_it_was_planned_for(mode, delays, seed):
    stitcher = Stitcher(Execution(execution=mode, blending_steps=1), LatePolicy())
    actions, joined = played(stitcher, delays, np.random.default_rng(seed))
    newest, blended = None, set()
    for step, action in enumerate(actions):
        for at, asked, values in joined:
            if at == step:
                blended = {step} if newest is not None and step - newest[0] < HORIZON else set()
                newest = (asked, values)
        expected = None if newest is None or step - newest[0] >= HORIZON else newest[1][step - newest[0]]
        if expected is None:
            assert action is None
        elif mode == "rtc" or step not in blended:
            np.testing.assert_array_equal(action, expected)


@given(delays=LENGTHS, seed=st.integers(0, 99))
def test_frozen_actions_are_executed_as_they_were_planned_before(delays, seed):
    promised = {}

    def guided(values, left_over, delay):
        if left_over is not None:
            count = min(delay, len(left_over))
            values[:count] = left_over[:count]
        promised[values.tobytes()] = (left_over, delay)
        return values

    stitcher = Stitcher(Execution(execution="rtc"), LatePolicy())
    actions, joined = played(stitcher, delays, np.random.default_rng(seed), guided=guided)
    for at, asked, values in joined:
        left_over, delay = promised[values.tobytes()]
        for step in range(asked, min(at + 1, len(actions))):
            i = step - asked
            if left_over is None or i >= min(delay, len(left_over)) or step > at:
                continue
            # executed from the old chunk up to `at`, from the new one there: the same
            np.testing.assert_array_equal(actions[step], left_over[i])
            np.testing.assert_array_equal(values[i], left_over[i])


@given(delays=LENGTHS, seed=st.integers(0, 99), steps=st.integers(1, 6))
def test_blending_never_jumps_by_more_than_its_share(delays, seed, steps):
    within, apart = 0.05, 2 * (1 + 0.05 * HORIZON)  # per step of a chunk, and between two chunks at most

    def smooth(values, *_):
        return (values[:1] + within * values.cumsum(axis=0)).astype(np.float32)

    stitcher = Stitcher(Execution(execution="blending", blending_steps=steps), LatePolicy())
    actions, joined = played(stitcher, delays, np.random.default_rng(seed), guided=smooth)
    largest, end = {}, 0
    for at, asked, _ in joined:
        # each action of the passage adds its share of the difference, be the old plan in a passage itself
        passage = max(min(steps, end - at, asked + HORIZON - at), 0)
        before = {step: largest.get(step, within) for step in range(at, at + passage + 1)}
        largest = {step: limit for step, limit in largest.items() if step < at}
        largest |= {step: limit + apart / (passage + 1) for step, limit in before.items()}
        end = max(asked + HORIZON, at)
    for step in range(1, len(actions)):
        if actions[step - 1] is not None and actions[step] is not None:
            jump = np.abs(actions[step] - actions[step - 1]).max()
            assert jump <= largest.get(step, within) + 1e-6


@given(st.integers(1, 8), st.integers(0, 8), st.integers(1, 8), st.integers(0, 99))
def test_a_crossfade_is_linear(steps, n, m, seed):
    rng = np.random.default_rng(seed)
    old, new = np.zeros((n, 2), np.float32), rng.uniform(0.5, 1, (1, 2)).astype(np.float32).repeat(m, axis=0)
    faded = crossfaded(old, new, steps=steps)
    count = min(steps, n, m)
    path = np.concatenate((np.zeros((1, 2)), faded[:count], new[:1]))
    np.testing.assert_allclose(np.diff(path, axis=0), new[:1].repeat(count + 1, axis=0) / (count + 1), atol=1e-6)
    np.testing.assert_array_equal(faded[count:], new[count:])


@given(st.integers(1, 6), st.floats(0, 50), st.integers(0, 99))
def test_ensembling_weighs_by_age(count, decay, seed):
    rng = np.random.default_rng(seed)
    chunks = [Planned(i, chunk(rng)) for i in range(count)]
    step = count - 1
    found = ensembled(chunks, step, decay=decay)
    assert len(found) == HORIZON
    for k, action in enumerate(found):
        reaching = [c.values[step + k - c.begin] for c in chunks if step + k < c.end]
        weights = np.exp(-decay * np.arange(len(reaching)))
        np.testing.assert_allclose(action, np.average(reaching, axis=0, weights=weights), atol=1e-5)


@given(delays=LENGTHS, seed=st.integers(0, 99))
def test_ensembled_actions_lie_among_those_of_the_chunks(delays, seed):
    stitcher = Stitcher(Execution(execution="ensembling"), LatePolicy())
    actions, joined = played(stitcher, delays, np.random.default_rng(seed))
    for step, action in enumerate(actions):
        reaching = [v[step - asked] for at, asked, v in joined if at <= step < asked + HORIZON]
        if not reaching:
            assert action is None
            continue
        assert (action >= np.min(reaching, axis=0) - 1e-5).all()
        assert (action <= np.max(reaching, axis=0) + 1e-5).all()


@pytest.mark.parametrize("mode", AHEAD)
def test_inference_begins_as_often_as_is_asked(mode):
    stitcher = Stitcher(Execution(execution=mode, execution_horizon=3), LatePolicy())
    _, joined = played(stitcher, [0], np.random.default_rng(0), steps=10)
    every = 1 if mode == "ensembling" else 3
    assert [asked for _, asked, _ in joined] == list(range(0, 10, every))
    stitcher = Stitcher(Execution(execution=mode), LatePolicy())
    _, joined = played(stitcher, [0], np.random.default_rng(0), steps=10)
    assert [asked for _, asked, _ in joined] == list(range(0, 10, 1 if mode == "ensembling" else N_ACTION_STEPS // 2))


def test_the_expected_delay_is_the_longest_of_the_last_ones():
    stitcher = Stitcher(Execution(execution="rtc", delay_buffer=2), LatePolicy())
    expected = []
    for step, delay in ((0, 1), (4, 3), (8, 0), (12, 2), (16, 0)):
        expected.append(stitcher.delay)
        stitcher.ask(step)
        stitcher.put(np.zeros((HORIZON, DIM), np.float32), step + delay)
    assert expected == [0, 1, 3, 3, 2]


def test_an_inference_that_outlasts_the_plan_is_no_measure_of_those_to_come():
    stitcher = Stitcher(Execution(execution="rtc"), LatePolicy())
    expected = []
    for step, delay in ((0, 2), (4, 1), (8, HORIZON + 3), (8 + HORIZON + 3, 1)):
        stitcher.ask(step)
        stitcher.put(np.zeros((HORIZON, DIM), np.float32), step + delay)
        expected.append(stitcher.delay)
    assert expected == [2, 2, 2, 2]


def test_a_passage_ends_before_the_next_chunk_begins():
    stitcher = Stitcher(Execution(execution="blending", execution_horizon=1, blending_steps=4), LatePolicy())
    for step, value in ((0, 0.0), (1, 1.0)):
        stitcher.ask(step)
        stitcher.put(np.full((HORIZON, DIM), value, np.float32), step)
    np.testing.assert_allclose(stitcher.actions(1)[:2, 0], (0.5, 1.0))
    stitcher.reset()
    assert stitcher.delay == 0
    assert not len(stitcher.actions(0))


def test_what_cannot_be_executed_is_refused_with_what_can():
    policy = LatePolicy()
    for mode in AHEAD:
        require_fit(Execution(execution=mode), policy)
        require_fit(Execution(execution=mode), Steered(policy, lambda o, noise, n: noise, noise_shape=(1,)))
    with pytest.raises(UserError, match=r"overlap.*execution_horizon below"):
        require_fit(Execution(execution="rtc", execution_horizon=HORIZON), policy)
    best = BestOf(policy, lambda o, c: c, noise_shape=policy.noise_shape, candidates=4)
    plain = type("Plain", (), {"horizon": 8, "n_action_steps": 4})()
    for unfit, reason in ((best, "choose among 4 chunks"), (plain, "no sampler")):
        with pytest.raises(UserError, match=reason):
            require_fit(Execution(execution="rtc"), unfit)
        require_fit(Execution(execution="blending"), unfit)
    steered = Steered(plain_policy(), lambda o, noise, n: noise, noise_shape=(1,))
    with pytest.raises(UserError, match="no sampler"):
        require_fit(Execution(execution="rtc"), steered)


def plain_policy():
    """A policy that cannot be guided."""
    attributes = {name: getattr(LatePolicy, name) for name in ("schema", "n_obs_steps", "horizon", "n_action_steps")}
    return type("Plain", (), {**attributes, "reads_task": False})()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"execution": "rct"}, "did you mean 'rtc'"),
        ({"execution_horizon": -1}, "execution_horizon=-1 is out of range: give 0 or more"),
        ({"guidance_weight": 0.0}, "guidance_weight=0 is out of range"),
        ({"guidance_weight": float("nan")}, "guidance_weight=nan is out of range"),
        ({"delay_buffer": 0}, "delay_buffer=0 is out of range: give 1 or more"),
        ({"blending_steps": 0}, "blending_steps=0 is out of range: give 1 or more"),
        ({"ensembling_decay": float("inf")}, "ensembling_decay=inf is out of range: give 0 to"),
        ({"inference_delay": -0.1}, "inference_delay=-0.1 is out of range: give 0 to"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(UserError, match=said):
        Execution(**options)
