"""Scripted experts of varied speed that pause, drop what they carry and stop before the end."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.eval.rollout import run_episodes
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.experts.script import Memory, Motion
from robolearn.sim.experts.scripted import ScriptedExpert
from robolearn.sim.experts.variation import BRAKING, CARRIED, EARLIEST, LATEST, PAUSE, RELEASE, Variation, VariedHand
from robolearn.sim.failures import FailingExpert

EVERYTHING = Variation(speed=(0.4, 1.0), pauses=2, drop=0.5, stop=0.3)
SEEDS = range(12)


def demonstrate(task, seeds=SEEDS, *, num_envs=6, longer=3, failure=None, noise=0.0, **how):
    env = MujocoVecEnv(task, num_envs=num_envs, autoreset=False)
    env.max_episode_steps *= longer
    variation = how["variation"] if "variation" in how else Variation(**how)
    channels = task, env.schema, num_envs
    if failure is None:
        expert = ScriptedExpert(*channels, noise=noise, variation=variation)
    else:
        expert = FailingExpert(*channels, failure=failure, noise=noise, variation=variation)
    episodes = run_episodes(env, expert, seeds, record=True, snapshot=lambda: {"still": expert.hand.still})
    env.close()
    return episodes


def stretches(flags):
    """Begin and end of each run of truths."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(int)))
    return edges.reshape(-1, 2).tolist()


def dropped(episode, whole):
    """The step in which the fingers open unlike in the episode without drops; None where they do not."""
    length = min(episode.length, whole.length)
    opening, twin = (one.frames["action"][:length, -1] > 0.04 for one in (episode, whole))
    return int(np.argmax(opening != twin)) if (opening != twin).any() else None


# ---------------------------------------------------------------- what a script is asked


def counting(scene, memory):
    """A script that counts how often it was asked, twice, and closes the fingers from the third time on."""
    memory.clock += 1
    memory.note("asked")[:] += 1
    memory.note("late", dtype=int)[memory.clock > 2] += 1
    n = len(memory.clock)
    return Motion(np.ones((n, 3)), np.zeros((n, 3)), np.where(memory.clock > 2, 0.0, 1.0))


def make_scene(width, num_envs):
    return SimpleNamespace(width=np.full(num_envs, width), widest=0.08, tool_pos=np.zeros((num_envs, 3)))


def ask(hand, steps, *, width=0.03, script=counting, num_envs=1):
    """What a hand in whose fingers something of this width is was told: whether it stays, the opening, asked so far."""
    memory, told = Memory.empty(num_envs), []
    for _ in range(steps):
        scene = make_scene(width, num_envs)
        motion = hand.ask(script, scene, memory)
        told.append((hand.still.copy(), motion.opening.copy(), memory.clock.copy()))
    still, opening, asked = (np.array(values) for values in zip(*told, strict=True))
    return still, opening, asked, memory


@settings(max_examples=30, deadline=None)
@given(seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=4), pauses=st.integers(0, 4), stop=st.booleans())
def test_where_the_hand_stays_the_script_was_not_asked(seeds, pauses, stop):
    hand = VariedHand(Variation(pauses=pauses, stop=float(stop)), len(seeds), max_steps=100)
    for world, seed in enumerate(seeds):
        hand.begin(world, seed)
    still, opening, asked, memory = ask(hand, 120, num_envs=len(seeds))
    np.testing.assert_array_equal(asked, np.cumsum(~still, axis=0))
    np.testing.assert_array_equal(memory.note("asked"), asked[-1])
    np.testing.assert_array_equal(memory.note("late"), asked[-1] - 2)
    np.testing.assert_array_equal(opening, np.where(asked > 2, 0.0, 1.0))  # the fingers keep their command
    assert still[-1].all() == stop
    for world in range(len(seeds)):
        runs = stretches(still[:, world])
        assert len(runs) <= pauses + stop
        assert all(EARLIEST <= begin <= LATEST * 100 for begin, _ in runs)
        if pauses == 1 and not stop:
            assert all(PAUSE[0] <= end - begin <= PAUSE[1] for begin, end in runs)


def begun(*seeds, **how):
    hand = VariedHand(Variation(**how), len(seeds), max_steps=100)
    for world, seed in enumerate(seeds):
        hand.begin(world, seed)
    return hand


def test_every_number_of_pauses_is_drawn():
    still = ask(begun(*range(300), pauses=2), 120, num_envs=300)[0]
    counts = [len(stretches(column)) for column in still.T]
    assert set(counts) == {0, 1, 2}
    assert min(counts.count(k) for k in range(3)) > 50  # two that meet are one


def test_speeds_fill_their_range_and_drops_and_stops_come_as_often_as_asked():
    hand = begun(*range(400), speed=[0.4, 0.9], drop=0.25, stop=0.25)
    assert 0.4 <= hand.speed.min() < 0.42
    assert 0.88 < hand.speed.max() <= 0.9
    assert hand.speed.mean() == pytest.approx(0.65, abs=0.02)
    still = ask(hand, 100, num_envs=400)[0]
    assert still[-1].mean() == pytest.approx(0.25, abs=0.06)
    opening = ask(begun(*range(400), drop=0.25), 60, num_envs=400)[1]
    assert (opening[10:] > 0.5).any(axis=0).mean() == pytest.approx(0.25, abs=0.06)


def test_switching_an_option_on_leaves_the_others_draws():
    for seed in range(20):
        alone, beside = begun(seed, stop=1.0), begun(seed, speed=(0.4, 1.0), pauses=2, drop=1.0, stop=1.0)
        assert begun(seed, speed=(0.4, 1.0)).speed[0] == beside.speed[0] != 1.0
        ends = [np.flatnonzero(~ask(hand, 100)[0][:, 0])[-1] for hand in (alone, beside)]
        assert ends[1] <= ends[0]  # a pause may run into it


@pytest.mark.parametrize(
    ("width", "carries"), [(0.03, True), (0.001, False), (0.079, False)], ids=["something", "shut", "open"]
)
def test_fingers_open_once_and_only_while_they_hold_something(width, carries):
    for seed in range(10):
        opening = ask(begun(seed, drop=1.0), 100, width=width)[1][3:, 0]
        runs = stretches(opening > 0.5)
        assert len(runs) == carries
        for begin, end in runs:
            assert CARRIED[0] - 2 <= begin <= CARRIED[1]
            assert end - begin == RELEASE


def test_fingers_that_still_close_hold_nothing():
    hand, memory = begun(0, drop=1.0), Memory.empty(1)
    for width in np.arange(0.07, 0.005, -0.005):
        hand.ask(counting, make_scene(width, 1), memory)
    _, opening, _, _ = ask(hand, 100, width=0.0)
    assert (opening == 0).sum() >= 98


def test_a_new_episode_begins_afresh():
    hand = begun(3, speed=(0.4, 1.0), pauses=2, drop=1.0, stop=1.0)
    first = ask(hand, 100)
    hand.begin(0, 4)
    ask(hand, 50)
    hand.begin(0, 3)
    again = ask(hand, 100)
    for a, b in zip(first[:3], again[:3], strict=True):
        np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- in the worlds


@pytest.mark.parametrize("failure", [None, "mix"])
def test_an_episode_depends_on_its_seed_alone(failure):
    how = {"longer": 1, "failure": failure, "noise": 0.1, "variation": EVERYTHING}
    seeds = [5, 2, 9, 4, 7]
    together = demonstrate("stack", seeds, num_envs=3, **how)
    assert any(episode.frames["still"].any() for episode in together)
    for seed, episode in zip(seeds, together, strict=True):
        (alone,) = demonstrate("stack", [seed], num_envs=1, **how)
        assert (episode.seed, episode.success, episode.length) == (seed, alone.success, alone.length)
        for key, values in alone.frames.items():
            np.testing.assert_array_equal(values, episode.frames[key])


@pytest.mark.parametrize("task", ["pick_place", "drawer_place"])
def test_a_slow_episode_is_longer_and_succeeds_all_the_same(task):
    full, slow = demonstrate(task, range(6)), demonstrate(task, range(6), speed=(0.5, 0.5))
    for a, b in zip(full, slow, strict=True):
        assert a.success
        assert b.success
        assert b.length > 1.4 * a.length
        assert np.abs(b.frames["action"][:, :3]).max() == pytest.approx(0.5 * np.abs(a.frames["action"][:, :3]).max())


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_a_pause_freezes_the_hand_and_keeps_the_fingers_command(noise):
    found = 0
    for episode in demonstrate("pick_place", range(6), pauses=2, noise=noise):
        assert episode.success
        opening, tool = episode.frames["action"][:, -1], episode.frames["observation.state"][:, 8:11]
        for begin, end in stretches(episode.frames["still"]):
            found += 1
            assert (opening[begin:end] == opening[begin - 1]).all()
            if end - begin > BRAKING + 2:
                assert np.ptp(tool[begin + BRAKING + 1 : end], axis=0).max() < 0.005
    assert found >= 4


@pytest.mark.parametrize("task", ["pick_place", "stack"])
def test_after_a_drop_the_script_takes_the_object_again(task):
    successes, fell = [], []
    slow = {"speed": (0.6, 0.6)}
    for episode, whole in zip(demonstrate(task, drop=1.0, **slow), demonstrate(task, **slow), strict=True):
        begin = dropped(episode, whole)
        if begin is None:
            continue  # it was put down before
        np.testing.assert_array_equal(episode.frames["action"][:begin], whole.frames["action"][:begin])
        assert (episode.frames["action"][begin : begin + RELEASE, -1] > 0.04).all()
        before, after = np.split(episode.frames["observation.stage"], [begin])
        successes.append(episode.success)
        fell.append((after < before[-1]).any())
    assert len(successes) >= 6
    assert np.mean(successes) >= 0.8
    assert np.mean(fell) >= 0.5  # the others fell where they belong


def test_a_stop_is_for_good_and_the_end_of_success():
    episodes = demonstrate("stack", longer=1, stop=1.0)
    whole = demonstrate("stack", longer=1)
    stopped = [episode for episode in episodes if episode.frames["still"].any()]
    assert len(stopped) >= 9
    begins = []
    for episode in stopped:
        ((begin, end),) = stretches(episode.frames["still"])
        assert end == episode.length
        assert not episode.success
        twin = whole[episode.seed]
        np.testing.assert_array_equal(episode.frames["action"][:begin], twin.frames["action"][:begin])
        begins.append(begin)
    assert np.ptp(begins) > 20
    for episode in set(range(12)) - {episode.seed for episode in stopped}:
        assert whole[episode].length == episodes[episode].length  # it was done before


def test_failures_are_varied_too():
    plain = demonstrate("stack", failure="mix", longer=1)
    varied = demonstrate("stack", failure="mix", longer=1, speed=(0.7, 1.0), pauses=2)
    assert 0 < sum(episode.success for episode in plain) < len(plain)
    assert sum(episode.success for episode in varied) <= sum(episode.success for episode in plain) + 2
    assert any(episode.frames["still"].any() for episode in varied)
    assert all(a.length <= b.length for a, b in zip(plain, varied, strict=True) if a.success and b.success)


@pytest.mark.parametrize("failure", ["slip", "no_grasp", "no_retract"])
def test_a_failing_script_remembers_nothing_of_a_pause(failure):
    env = MujocoVecEnv("pick_place", num_envs=4, autoreset=False)
    expert = FailingExpert("pick_place", env.schema, 4, failure=failure, variation=Variation(pauses=3))
    expert.reset(range(4))
    observation, _ = env.reset(seed=list(range(4)))
    paused = 0
    for _ in range(80):
        before = deepcopy(expert.memory)
        action = expert.act(observation)
        still = expert.hand.still
        paused += still.sum()
        for name in before.notes:
            np.testing.assert_array_equal(expert.memory.notes[name][still], before.notes[name][still])
        observation, *_ = env.step(action)
    env.close()
    assert paused >= 20


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"speed": [0.4]}, "expert.speed=[0.4] is no range of speeds: give two rising numbers above 0 and up to 1"),
        ({"speed": [0.9, 0.4]}, "expert.speed=[0.9, 0.4] is no range"),
        ({"speed": [0.0, 1.0]}, "expert.speed=[0.0, 1.0] is no range"),
        ({"speed": [0.5, 1.5]}, "expert.speed=[0.5, 1.5] is no range"),
        ({"pauses": -1}, "expert.pauses=-1 is impossible: give 0 or more"),
        ({"drop": 1.1}, "expert.drop=1.1 is no probability"),
        ({"stop": -0.1}, "expert.stop=-0.1 is no probability"),
    ],
)
def test_what_cannot_be_is_explained(how, sentence):
    with pytest.raises(UserError) as error:
        Variation(**how)
    assert sentence in str(error.value)
