"""Shaping on Markov decision processes that are solved exactly: which policies are the best, and what values are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.rewards.shaping import KINDS, Shaping, shaped

SEEDS = st.integers(0, 2**32 - 1)
GAMMAS = st.sampled_from([0.5, 0.9, 0.97])
SCALES = st.sampled_from([0.1, 1.0, 30.0])


class Process:
    """A random process: from state s action a leads to s' with chance[s, a, s'], pays reward and may end there."""

    def __init__(self, rng, *, states=6, actions=3, ends=0.3):
        shape = (states, actions, states)
        self.chance = rng.dirichlet(np.full(states, 0.5), (states, actions))
        self.reward = rng.normal(size=shape) * (rng.random(shape) < 0.3)
        self.terminated = rng.random(shape) < ends

    def with_reward(self, reward):
        other = object.__new__(Process)
        other.chance, other.terminated, other.reward = self.chance, self.terminated, reward
        return other

    def shaped(self, potential, *, gamma, shaping):
        before = np.broadcast_to(potential[:, None, None], self.reward.shape)
        after = np.broadcast_to(potential, self.reward.shape)
        return self.with_reward(shaping.reward(self.reward, before, after, self.terminated, gamma=gamma))


def solve(process, gamma):
    """Q* [S, A] by value iteration, as exact as floats are."""
    q = np.zeros(process.chance.shape[:2])
    while True:
        following = process.reward + gamma * ~process.terminated * q.max(axis=1)
        new = (process.chance * following).sum(axis=2)
        if np.abs(new - q).max() <= 1e-13 * max(np.abs(q).max(), 1.0):
            return new
        q = new


def best(q, *, within):
    """Which actions are optimal [S, A]."""
    return q >= q.max(axis=1, keepdims=True) - within


# ---------------------------------------------------------------- policy invariance


@given(SEEDS, GAMMAS, SCALES, st.sampled_from([0.0, 0.3, 1.0]))
def test_the_optimal_policies_are_the_same_for_every_potential(seed, gamma, scale, ends):
    rng = np.random.default_rng(seed)
    process, potential = Process(rng, ends=ends), rng.normal(size=6)
    q = solve(process, gamma)
    other = solve(process.shaped(potential, gamma=gamma, shaping=Shaping(scale=scale)), gamma)
    np.testing.assert_allclose(other, q - scale * potential[:, None], atol=1e-9 * scale + 1e-9)
    np.testing.assert_array_equal(best(other, within=1e-7), best(q, within=1e-7))


@given(SEEDS, GAMMAS)
def test_so_are_the_values_of_every_other_policy(seed, gamma):
    rng = np.random.default_rng(seed)
    process, potential = Process(rng), rng.normal(size=6)
    policy = rng.dirichlet(np.ones(3), 6)

    def values(one):
        move = (policy[..., None] * one.chance * ~one.terminated).sum(axis=1)
        paid = (policy[..., None] * one.chance * one.reward).sum(axis=(1, 2))
        return np.linalg.solve(np.eye(6) - gamma * move, paid)

    shaped_values = values(process.shaped(potential, gamma=gamma, shaping=Shaping()))
    np.testing.assert_allclose(shaped_values, values(process) - potential, atol=1e-10)


@given(SEEDS, GAMMAS, st.integers(1, 12), st.booleans(), SCALES)
def test_the_terms_telescope_over_n_steps(seed, gamma, steps, ended, scale):
    rng = np.random.default_rng(seed)
    reward, potential = rng.normal(size=steps), rng.normal(size=steps + 1)
    terminated = np.zeros(steps, bool)
    terminated[-1] = ended
    weights = gamma ** np.arange(steps)
    found = weights @ shaped(reward, potential[:-1], potential[1:], terminated, gamma=gamma, scale=scale)
    last = 0.0 if ended else potential[-1]
    expected = weights @ reward + scale * (gamma**steps * last - potential[0])
    np.testing.assert_allclose(found, expected, atol=1e-10 * (1 + scale))


# ---------------------------------------------------------------- what is often done instead

GAMMA = 0.9


def graph(paths, *, states):
    """A process from {(state, action): [(chance, next state, reward, whether it ends)]}; what is missing stays."""
    process = object.__new__(Process)
    shape = (states, 2, states)
    process.chance, process.reward, process.terminated = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)
    for state in range(states):
        for action in (0, 1):
            for chance, after, reward, ends in paths.get((state, action), [(1.0, state, 0.0, False)]):
                process.chance[state, action, after] = chance
                process.reward[state, action, after], process.terminated[state, action, after] = reward, ends
    return process


def choices(process, reward=None):
    """The best action in state 0 by the process's reward, or by another."""
    q = solve(process if reward is None else process.with_reward(reward), GAMMA)
    return np.flatnonzero(best(q, within=1e-9)[0]).tolist()


def added(process, potential, shaping):
    return process.shaped(np.array(potential), gamma=GAMMA, shaping=shaping).reward


def test_progress_added_at_each_step_pays_for_lingering_before_the_goal():
    # action 0 finishes, action 1 waits at 0.9
    process = graph({(0, 0): [(1.0, 1, 1.0, True)]}, states=2)
    assert choices(process) == [0]
    assert choices(process, added(process, [0.9, 1.0], Shaping("potential"))) == [0]
    assert choices(process, added(process, [0.9, 1.0], Shaping("raw"))) == [1]


def test_gains_without_the_discount_pay_for_a_dead_end_that_looks_close():
    # action 0 goes the long way through the states 1 to 9, action 1 to the dead end 10, from where nothing leads
    paths = {(k, 0): [(1.0, k + 1, 0.0, False)] for k in range(9)} | {(9, 0): [(1.0, 11, 1.0, True)]}
    process = graph(paths | {(0, 1): [(1.0, 10, 0.0, False)]}, states=12)
    potential = [0.0] * 10 + [0.9, 1.0]
    assert choices(process) == [0]
    assert choices(process, added(process, potential, Shaping("potential"))) == [0]
    assert choices(process, added(process, potential, Shaping("gain"))) == [1]


def test_a_potential_after_the_end_pays_for_a_failure_that_came_close():
    # action 0 succeeds for sure in five steps; action 1 at once, but every second time the object is lost at 0.9
    paths = {(k, 0): [(1.0, k + 1, 0.0, False)] for k in range(4)} | {(4, 0): [(1.0, 5, 1.0, True)]}
    process = graph(paths | {(0, 1): [(0.5, 5, 1.0, True), (0.5, 6, 0.0, True)]}, states=7)
    potential = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.9])
    assert choices(process) == [0]
    assert choices(process, added(process, potential, Shaping())) == [0]
    kept = process.reward + GAMMA * potential - potential[:, None, None]
    assert choices(process, kept) == [1]


# ---------------------------------------------------------------- arithmetic


def test_the_end_of_a_task_has_no_potential_and_the_end_of_time_has():
    reward, before, after = np.array([0.0, 1.0, 0.0]), np.array([0.2, 0.5, 0.5]), np.array([0.5, 1.0, 0.75])
    found = shaped(reward, before, after, np.array([False, True, False]), gamma=0.5, scale=2.0)
    np.testing.assert_allclose(found, [2 * (0.25 - 0.2), 1 - 1.0, 2 * (0.375 - 0.5)])


@pytest.mark.parametrize(("kind", "expected"), [("potential", [0.05, 0.5]), ("gain", [0.3, 1.5]), ("raw", [0.5, 2.0])])
def test_each_kind_adds_its_own_terms(kind, expected):
    values = np.array([0.0, 1.0]), np.array([0.2, 0.5]), np.array([0.5, 1.0]), np.array([False, True])
    np.testing.assert_allclose(Shaping(kind).reward(*values, gamma=0.5), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_scale_nothing_is_added(kind):
    shaping, ones = Shaping(kind, 0.0), np.ones(3)
    np.testing.assert_array_equal(shaping.reward(ones, 0.3 * ones, ones, ones > 2, gamma=0.9), ones)
    assert (shaping.offset(ones).tolist(), shaping.width(0.9)) == ([0.0] * 3, 1.0)


@given(SEEDS, st.sampled_from(KINDS), GAMMAS, SCALES, st.integers(1, 12), st.booleans())
def test_values_stay_within_their_bounds(seed, kind, gamma, scale, steps, ended):
    rng = np.random.default_rng(seed)
    shaping, potential = Shaping(kind, scale), rng.choice([0.0, 0.3, 1.0], steps + 1)
    reward, terminated = np.zeros(steps), np.zeros(steps, bool)
    reward[-1], terminated[-1] = ended, ended
    paid = shaping.reward(reward, potential[:-1], potential[1:], terminated, gamma=gamma)
    width, offset = shaping.width(gamma), shaping.offset(potential)
    for share in (0.0, 1.0):  # of what can follow
        following = 0.0 if ended else share * width - offset[-1]
        value = gamma ** np.arange(steps) @ paid + gamma**steps * following
        assert -offset[0] - 1e-9 * width <= value <= width - offset[0] + 1e-9 * width


def test_bounds_are_reached():
    for kind in KINDS:
        shaping, ones = Shaping(kind, 2.0), np.ones(1000)
        paid = shaping.reward(np.zeros(1000), np.append(0.0, ones[1:]), ones, ones < 0, gamma=0.9)
        reached = 0.9 ** np.arange(1000) @ paid
        # one step of gamma short of success at once
        assert reached == pytest.approx(shaping.width(0.9) - 1, abs=1e-9)


def test_without_a_discount_nothing_bounds_raw_progress():
    assert Shaping("raw").width(1.0) == float("inf")
    assert Shaping("potential").width(1.0) == 1.0


def test_single_precision_stays_single():
    ones = np.ones(3, np.float32)
    assert shaped(ones, ones, ones, ones > 2, gamma=0.9, scale=0.5).dtype == np.float32


def test_an_unknown_kind_is_refused():
    with pytest.raises(UserError, match=r"unknown shaping.kind 'potental'; did you mean 'potential'\?"):
        Shaping("potental")


# ---------------------------------------------------------------- what it is good for


def episodes_until_known(shaping, *, length=25, seed=0):
    """Episodes of Q-learning until it walks straight down a corridor whose end alone pays."""
    rng = np.random.default_rng(seed)
    q, potential = np.zeros((length + 1, 2)), np.arange(length + 1) / length
    for episode in range(1, 2000):
        state = 0
        for _ in range(40 * length):
            greedy = rng.choice(np.flatnonzero(q[state] == q[state].max()))
            action = int(rng.integers(2)) if rng.random() < 0.1 else int(greedy)
            after = max(state - 1, 0) if action == 0 else state + 1
            ended = np.array(after == length)
            reward = np.float64(ended)
            if shaping is not None:
                reward = shaping.reward(reward, potential[state], potential[after], ended, gamma=0.95)
            q[state, action] += 0.5 * (reward + 0.95 * (not ended) * q[after].max() - q[state, action])
            state = after
            if ended:
                break
        if (q[:length, 1] > q[:length, 0]).all():
            return episode
    raise AssertionError("nothing was learned")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_shaped_sparse_reward_is_learned_in_a_fraction_of_the_episodes(seed):
    assert 4 * episodes_until_known(Shaping(), seed=seed) < episodes_until_known(None, seed=seed)
