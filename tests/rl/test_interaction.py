"""Worlds that are acted in, and what is kept of each episode."""

import numpy as np
import pytest
from rl_toy import Biased, Point, Scripted, Telltale, make_units, tell, told

from robolearn.acting import Acting
from robolearn.commands.common import REPORT_SEED, SELECT_SEED
from robolearn.rl.interaction import BASE, INTERVENTION, LEARNING_SEEDS, Interaction
from robolearn.rl.units import VECTOR

BOUND = 2.0  # of the scripted worlds' actions; normalised ones are in units of it


def test_no_world_that_is_learned_from_is_one_that_judges():
    seeds = []

    class Asked(Point):
        def reset(self, *, seed=None, options=None):
            seeds.extend(seed)
            return super().reset(seed=seed, options=options)

    Interaction(Asked(50), Acting(Biased()), make_units(Point.schema), seed=0).step()
    assert len(set(seeds)) == 50
    assert max(seeds) < LEARNING_SEEDS <= min(REPORT_SEED, SELECT_SEED)


def act(rounds=12, *, env=None, policy=None, correction=None, seed=0):
    """Finished episodes of the scripted worlds: with 12 rounds four of the first world and three of the second."""
    env = Scripted() if env is None else env
    policy = Telltale() if policy is None else policy
    interaction = Interaction(env, Acting(policy, correction), make_units(policy.schema), seed=seed)
    finished = [one for _ in range(rounds) for one in interaction.step()]
    assert interaction.steps == rounds * env.num_envs
    return env, finished


class Listener(Telltale):
    """A base that keeps what it is told."""

    reads_task = True

    def __init__(self):
        self.heard = set()

    def predict_chunk(self, observation, noise=None, n_samples=1):
        self.heard |= set(observation["task"].tolist())
        return super().predict_chunk(observation, noise, n_samples)


def test_without_a_correction_the_base_policy_acts_and_plans_anew_after_both_kinds_of_end():
    env, _ = act()
    episode, t = np.zeros(2), np.zeros(2)
    for actions in env.actions:
        np.testing.assert_allclose(actions[:, 0], told(episode, t), rtol=0, atol=1e-6)
        t += 1
        over = t == env.lengths
        episode[over] += 1
        t[over] = 0


def test_an_episode_holds_every_observation_the_true_last_one_too():
    env, finished = act()
    names = []
    for one in finished:
        (world,), (episode,) = (set(one.frames[VECTOR][:, k]) for k in (0, 1))
        assert one.frames[VECTOR][:, 2].tolist() == list(range(env.lengths[int(world)] + 1))
        names.append((int(world), int(episode)))
    assert sorted(names) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]


def test_the_base_s_action_at_the_last_observation_is_that_of_the_plan_that_was_under_way():
    env, finished = act()
    for one in finished:
        world, episode = one.frames[VECTOR][0, :2]
        expected = told(episode, np.arange(env.lengths[int(world)] + 1))
        np.testing.assert_allclose(one.frames[BASE][:, 0] * BOUND, expected, atol=1e-6)


def test_terminations_and_truncations_are_kept_apart():
    _, finished = act()
    for one in finished:
        terminated = bool(one.frames[VECTOR][0, 0] == 0)  # the first world's task ends, the second runs out of time
        assert (one.terminated, one.success) == (terminated, terminated)
        assert one.reward.tolist() == [0.0] * (len(one.reward) - 1) + [float(terminated)]


def test_what_was_executed_is_stored():
    def push(observation, base):
        state = observation["observation.state"]
        return (base + 0.3 + 0.01 * state[:, 2:]).astype(np.float32)

    env, finished = act(correction=push)
    executed = [actions[world, 0] for world in (0, 1) for actions in env.actions]
    stored = sorted(finished, key=lambda one: tuple(one.frames[VECTOR][0, :2]))
    np.testing.assert_allclose(np.concatenate([one.action[:, 0] for one in stored]) * BOUND, executed, atol=1e-6)
    for one in stored:
        steps = np.arange(len(one.reward))
        change = BOUND * (one.action - one.frames[BASE][:-1])[:, 0]
        np.testing.assert_allclose(change, 0.3 + 0.01 * steps, atol=1e-6)


def test_stored_arrays_are_plain():
    _, finished = act()
    for one in finished:
        arrays = (*one.frames.values(), one.action, one.reward)
        assert {values.dtype for values in arrays} == {np.dtype(np.float32)}
        assert one.action.shape == (len(one.reward), 1)


def test_a_base_that_reads_an_instruction_is_told_it():
    env, policy = Scripted(), Listener()
    env.instructions = ["put it down", "pick it up"]
    act(env=env, policy=policy)
    assert policy.heard == {"put it down", "pick it up"}


def test_the_seed_decides_on_episodes_and_noise():
    first, same, other = (act(40, env=Point(3), policy=Biased(), seed=seed)[1] for seed in (7, 7, 8))
    for one, again in zip(first, same, strict=True):
        np.testing.assert_array_equal(one.frames[VECTOR], again.frames[VECTOR])
        np.testing.assert_array_equal(one.action, again.action)
    starts = [{tuple(one.frames[VECTOR][0]) for one in finished} for finished in (first, other)]
    assert len(starts[0]) == len(first) > 3  # no episode comes twice
    assert not starts[0] & starts[1]


@pytest.mark.parametrize("num_envs", [1, 2, 5])
def test_steps_are_control_steps_of_all_worlds(num_envs):
    interaction = Interaction(Point(num_envs), Acting(Biased()), make_units(Point.schema), seed=0)
    for rounds in range(1, 4):
        interaction.step()
        assert interaction.steps == rounds * num_envs


def test_the_toy_policy_tells_what_it_should():
    observation = {"observation.state": np.array([[[0, 3, 2]]], np.float32)}
    np.testing.assert_allclose(
        Telltale().predict_chunk(observation).values[0, :, 0], tell(3, 2, np.arange(4)), rtol=1e-6
    )


# ---------------------------------------------------------------- an arm that says what it did


class Obstinate(Scripted):
    """Halves every action; a person acts at odd steps of the second world."""

    def step(self, actions):
        *rest, info = super().step(actions)
        odd = np.array([False, self.t[1] % 2 == 0])
        return *rest, {**info, "action": 0.5 * actions, "intervention": odd}


def test_what_the_worlds_say_they_executed_is_stored():
    env, finished = act(env=Obstinate())
    executed = [0.5 * actions[world, 0] for world in (0, 1) for actions in env.actions]
    stored = sorted(finished, key=lambda one: tuple(one.frames[VECTOR][0, :2]))
    np.testing.assert_allclose(np.concatenate([one.action[:, 0] for one in stored]) * BOUND, executed, atol=1e-6)


def test_the_frames_at_which_a_person_acted_are_marked():
    _, finished = act(env=Obstinate())
    for one in finished:
        first = one.frames[VECTOR][0, 0] == 0
        expected = (
            [0, 0, 0, 0] if first else [0, 1, 0, 1, 1]
        )  # the last frame, at which nobody acted, as the one before
        assert one.frames[INTERVENTION].dtype == np.float32
        assert one.frames[INTERVENTION][:, 0].tolist() == expected


def test_the_base_plans_anew_after_a_person():
    env, _ = act(env=Obstinate(lengths=(6, 6)), rounds=6)
    steps = [actions[1, 0] for actions in env.actions]
    # a plan lasts two steps; the person's at the steps 1, 3 and 5 coincide with its ends
    np.testing.assert_allclose(steps, [tell(0, t // 2 * 2, t % 2) for t in range(6)], atol=1e-6)
    env, _ = act(env=Always(lengths=(6, 6)), rounds=6)
    np.testing.assert_allclose([actions[1, 0] for actions in env.actions], tell(0, np.arange(6), 0), atol=1e-6)


class Always(Scripted):
    """A person always acts."""

    def step(self, actions):
        *rest, info = super().step(actions)
        return *rest, {**info, "intervention": np.array([True, True])}


def test_a_finished_episode_is_known_before_the_next_begins():
    env = Scripted(lengths=(2, 2))
    interaction = Interaction(env, Acting(Telltale()), make_units(Telltale.schema), seed=0)
    assert env.episode.tolist() == [-1, -1]
    interaction.step()
    assert len(interaction.step()) == 2
    assert env.episode.tolist() == [0, 0]
    interaction.step()
    assert env.episode.tolist() == [1, 1]
