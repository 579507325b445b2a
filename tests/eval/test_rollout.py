"""Rollouts on worlds of known length: order, seeds, records, and who is reset when."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.eval.rollout import run_episodes


class Counting:
    """An episode of seed s takes 2 + s % 4 steps and succeeds if s is even; it shows (seed, step)."""

    max_episode_steps = 100

    def __init__(self, num_envs):
        self.num_envs, self.instructions = num_envs, ["count"] * num_envs
        self.seed, self.t = np.zeros(num_envs, int), np.zeros(num_envs, int)
        self.masks = []

    @property
    def length(self):
        return 2 + self.seed % 4

    def reset(self, *, seed=None, options=None):
        mask = options["reset_mask"]
        self.masks.append(mask.copy())
        assert [s is not None for s in seed] == mask.tolist()
        self.seed[mask] = [s for s in seed if s is not None]
        self.t[mask] = 0
        return self._observation(), self._info()

    def step(self, actions):
        self.t += 1
        over = self.t >= self.length
        success = self.seed % 2 == 0
        return self._observation(), 1.0 * over, over & success, over & ~success, self._info()

    def _observation(self):
        return {"observation.state": np.stack((self.seed, self.t), 1).astype(np.float32)}

    def _info(self):
        success = (self.t >= self.length) & (self.seed % 2 == 0)
        return {"success": success, "stage": self.t.copy(), "progress": self.t / self.length}


class Watcher:
    """An actor that adds up what it saw since its reset, and checks that its reset came first."""

    def __init__(self, num_envs):
        self.seeds, self.steps = np.full(num_envs, -1), np.zeros(num_envs, int)
        self.resets = []

    def reset(self, seeds, mask=None):
        self.resets.append(mask.copy())
        self.seeds[mask] = np.array(seeds)[mask]
        self.steps[mask] = 0

    def act(self, observation):
        seen, step = observation["observation.state"].astype(int).T
        np.testing.assert_array_equal(seen, self.seeds)
        np.testing.assert_array_equal(step, self.steps)
        self.steps += 1
        return np.stack((seen, 10 * step), 1).astype(np.float32)


def run(seeds, num_envs=3, **options):
    env, actor = Counting(num_envs), Watcher(num_envs)
    return run_episodes(env, actor, seeds, **options), env, actor


def outcome(episodes):
    return [(e.seed, e.success, e.length) for e in episodes]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.integers(1, 7))
def test_episodes_come_in_the_order_of_their_seeds_whatever_num_envs(seeds, num_envs):
    episodes, _, _ = run(seeds, num_envs)
    assert outcome(episodes) == [(s, s % 2 == 0, 2 + s % 4) for s in seeds]


def test_records_hold_each_episode_s_own_frames():
    seeds = [4, 7, 1, 2, 7, 3]
    alone, together = (run(seeds, n, record=True)[0] for n in (1, 4))
    for seed, a, b in zip(seeds, alone, together, strict=True):
        assert set(a.frames) == {"observation.state", "action", "observation.stage", "privileged.progress"}
        for key, values in a.frames.items():
            assert len(values) == a.length
            np.testing.assert_array_equal(values, b.frames[key])
        t = np.arange(a.length)  # what was seen before each action: the first frame, not the last
        np.testing.assert_array_equal(a.frames["observation.state"], np.stack((np.full(a.length, seed), t), 1))
        np.testing.assert_array_equal(a.frames["action"], np.stack((np.full(a.length, seed), 10 * t), 1))
        np.testing.assert_array_equal(a.frames["observation.stage"], t)
        np.testing.assert_array_equal(a.frames["privileged.progress"], np.float32(t / a.length)[:, None])


def test_snapshots_are_taken_with_each_frame():
    env, actor = Counting(2), Watcher(2)
    shared = np.zeros((2, 5))

    def snapshot():
        shared[:] = env.t[:, None]  # a live array, as a simulator's
        return {"qpos": shared}

    for episode in run_episodes(env, actor, [1, 2, 3], record=True, snapshot=snapshot):
        np.testing.assert_array_equal(episode.frames["qpos"], np.arange(episode.length)[:, None] + np.zeros(5))


def test_nothing_is_kept_unless_asked_for():
    calls = []
    episodes, _, _ = run([1, 2], snapshot=lambda: calls.append(1))
    assert [e.frames for e in episodes] == [{}, {}]
    assert not calls


def test_each_episode_is_told_of_as_soon_as_it_ends():
    told = []
    episodes, _, _ = run([3, 4, 0, 1], 2, on_episode=told.append)
    assert sorted(outcome(told)) == sorted(outcome(episodes))
    assert [e.seed for e in told] == [4, 0, 3, 1]  # by the time of their ends: steps 2, 4, 5 and 7


class Listener(Watcher):
    """Also keeps what each world is told in each step."""

    def __init__(self, num_envs):
        super().__init__(num_envs)
        self.heard = []

    def act(self, observation):
        self.heard.append(observation["task"].tolist())
        return super().act(observation)


def test_actors_are_told_what_the_scene_asks_for():
    env, actor = Counting(2), Listener(2)
    env.instructions = ["count", "count on"]
    episodes = run_episodes(env, actor, [1, 2, 3])
    assert all(heard == ["count", "count on"] for heard in actor.heard)
    assert [(e.instruction, e.told) for e in episodes] == [
        ("count", "count"),
        ("count on", "count on"),
        ("count", "count"),
    ]


def test_actors_can_be_told_something_else_by_the_seed():
    heard = {}
    for num_envs in (1, 3):
        actor = Listener(num_envs)
        episodes = run_episodes(Counting(num_envs), actor, [4, 7, 1], tell=lambda seed, asked: f"{asked} {seed}")
        heard[num_envs] = [(e.seed, e.instruction, e.told) for e in episodes]
    assert heard[1] == heard[3] == [(s, "count", f"count {s}") for s in (4, 7, 1)]
    assert actor.heard[0] == ["count 4", "count 7", "count 1"]


def test_only_worlds_that_ended_are_reset_actor_first():
    _, env, actor = run([3, 0, 1, 2], 2)
    assert len(env.masks) == len(actor.resets)
    for environment, mine in zip(env.masks, actor.resets, strict=True):
        np.testing.assert_array_equal(environment, mine)
    assert env.masks[0].all()
    assert env.masks[1].tolist() == [False, True]  # seed 0 ends after 2 steps, seed 3 after 5


def test_more_worlds_than_episodes():
    episodes, _, _ = run([5], 4, record=True)
    assert outcome(episodes) == [(5, False, 3)]
    assert episodes[0].frames["action"].shape == (3, 2)


def test_zero_episodes():
    for nothing in ([], range(3, 3)):
        with pytest.raises(UserError, match="zero episodes asked for: give at least one"):
            run(nothing)


def test_successful_episodes_go_on_for_as_long_as_asked():
    seeds = range(8)
    plain, longer = (run_episodes(Counting(3), Watcher(3), seeds, record=True, linger=steps) for steps in (0, 4))
    for before, after in zip(plain, longer, strict=True):
        more = 4 if before.seed % 2 == 0 else 0
        assert (after.success, after.length) == (before.success, before.length + more)
        stages = after.frames["observation.stage"]
        np.testing.assert_array_equal(stages, np.arange(before.length + more))  # the frame of success is among them
