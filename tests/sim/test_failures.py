"""Experts that fail on purpose: each in its own way, deterministically, judged by the task's predicates."""

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.eval.rollout import run_episodes
from robolearn.proprioception import objects_of
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.experts.scripted import SCRIPTS, ScriptedExpert
from robolearn.sim.failures import KINDS, FailingExpert, kinds_for
from robolearn.sim.tasks import make_task

SEEDS = range(6)


def fail(task, failure, seeds=SEEDS, *, num_envs=6, noise=0.0):
    env = MujocoVecEnv(task, num_envs=num_envs, autoreset=False)
    expert = FailingExpert(task, env.schema, num_envs, failure=failure, noise=noise)
    episodes = run_episodes(env, expert, seeds, record=True)
    env.close()
    return episodes, env


def channels(episode, env):
    """Width, tool pose and body poses of an episode: [T], [T, 9], {name: [T, 9]}."""
    state, poses = episode.frames["observation.state"], episode.frames["observation.environment_state"]
    at = env.schema["observation.state"].names.index("gripper_width")
    names = objects_of(env.schema["observation.environment_state"])
    return state[:, at], state[:, at + 1 :], {name: poses[:, 9 * k : 9 * k + 9] for k, name in enumerate(names)}


def yaw(poses):
    return np.arctan2(poses[:, 4], poses[:, 3])


def successes(episodes):
    return [episode.success for episode in episodes]


# ---------------------------------------------------------------- which and when


@pytest.mark.parametrize(
    ("task", "kinds"),
    [
        ("lift", ("no_grasp", "slip", "translation", "rotation", "no_rotation", "wrong_sequence")),
        ("reach", ("translation",)),
        ("push", ("translation",)),
        ("stack", tuple(KINDS)),
        ("sort", tuple(KINDS)),
        ("peg_insert", tuple(kind for kind in KINDS if kind != "wrong_object")),
    ],
)
def test_each_task_has_the_failures_that_make_sense(task, kinds):
    assert kinds_for(make_task(task)) == kinds


@pytest.mark.parametrize("task", SCRIPTS)
def test_every_task_can_fail(task):
    env = MujocoVecEnv(task, num_envs=4, autoreset=False, max_episode_steps=6)
    for kind in kinds_for(env.task):
        expert = FailingExpert(task, env.schema, 4, failure=kind)
        run_episodes(env, expert, range(4))


def test_the_same_seed_fails_in_the_same_way_whatever_the_neighbours():
    seeds = [5, 2, 9, 4, 7, 11, 3]
    together, _ = fail("stack", "mix", seeds, num_envs=3, noise=0.2)
    for seed, episode in zip(seeds[:4], together, strict=False):
        ((alone,), _) = fail("stack", "mix", [seed], num_envs=1, noise=0.2)
        assert (episode.seed, episode.success, episode.length) == (seed, alone.success, alone.length)
        for key, values in alone.frames.items():
            np.testing.assert_array_equal(values, episode.frames[key])


def test_a_mix_draws_every_failure_that_makes_sense():
    env = MujocoVecEnv("stack", autoreset=False)
    expert = FailingExpert("stack", env.schema, 1, failure="mix")
    drawn = [expert.failure_of(seed) for seed in range(400)]
    assert set(drawn) == set(KINDS)
    assert min(drawn.count(kind) for kind in KINDS) > 400 / len(KINDS) / 2
    assert [FailingExpert("stack", env.schema, 3, failure="mix").failure_of(seed) for seed in range(9)] == drawn[:9]
    assert FailingExpert("stack", env.schema, 1, failure="slip").failure_of(3) == "slip"


@pytest.mark.parametrize("failure", ["no_grasp", "slip", "no_retract"])
def test_until_it_fails_it_is_the_expert_itself(failure):
    episodes, env = fail("pick_place", failure)
    expert = ScriptedExpert("pick_place", env.schema, 6)
    for episode, clean in zip(episodes, run_episodes(make("pick_place"), expert, SEEDS, record=True), strict=True):
        closing = np.argmax(clean.frames["action"][:, -1] < 0.04)
        assert closing > 8
        np.testing.assert_array_equal(episode.frames["action"][:closing], clean.frames["action"][:closing])


def make(task):
    return MujocoVecEnv(task, num_envs=6, autoreset=False)


# ---------------------------------------------------------------- how


@pytest.mark.parametrize("task", ["lift", "stack"])
def test_no_grasp_goes_through_the_motions_with_open_fingers(task):
    episodes, env = fail(task, "no_grasp")
    assert not any(successes(episodes))
    for episode in episodes:
        width, tool, bodies = channels(episode, env)
        assert width.min() > 0.07
        target = bodies[env.task.movable[0]]
        assert np.linalg.norm(target[:, :3] - tool[:, :3], axis=1).min() < 0.02  # it was there
        assert np.abs(target[:, 2] - target[0, 2]).max() < 0.01
        assert tool[-1, 2] > 0.08  # and went on


@pytest.mark.parametrize("task", ["lift", "stack", "peg_insert"])
def test_a_slip_opens_the_fingers_on_the_way(task):
    episodes, _ = fail(task, "slip")
    assert np.mean(successes(episodes)) < 0.4
    grasped = [episode for episode in episodes if episode.frames["observation.stage"].max() >= 2]
    assert len(grasped) >= 4
    for episode in grasped:
        wanted, stage = episode.frames["action"][:, -1], episode.frames["observation.stage"]
        assert wanted[np.argmax(stage >= 2) :].max() == pytest.approx(0.08)
        assert episode.success or stage[-1] < 2


def test_a_translation_closes_the_fingers_beside_the_object():
    episodes, env = fail("stack", "translation", range(12))
    assert np.mean(successes(episodes)) < 0.3
    beside = []
    for episode in episodes:
        _, tool, bodies = channels(episode, env)
        closing = np.argmax(episode.frames["action"][:, -1] < 0.04)
        beside.append(np.linalg.norm((tool - bodies["cube_a"])[closing, :2]))
    assert 0.02 < np.median(beside) < 0.07


def test_a_rotation_grasps_at_a_wrong_angle():
    episodes, env = fail("lift", "rotation")
    for episode in episodes:
        _, tool, bodies = channels(episode, env)
        nearest = np.linalg.norm((tool - bodies["cube"])[:, :3], axis=1).argmin()
        turn = yaw(tool)[nearest] - yaw(bodies["cube"])[0]
        off = np.abs((turn + np.pi / 4) % (np.pi / 2) - np.pi / 4)
        assert off > 0.4


@pytest.mark.parametrize("task", ["lift", "edge_grasp"])
def test_no_rotation_never_turns_the_gripper(task):
    episodes, env = fail(task, "no_rotation")
    turns = slice(3, -1)
    assert all((episode.frames["action"][:, turns] == 0).all() for episode in episodes)
    clean = run_episodes(make(task), ScriptedExpert(task, env.schema, 6), [0], record=True)[0]
    assert (clean.frames["action"][:, turns] != 0).any()
    if task == "edge_grasp":
        assert not any(successes(episodes))


def test_the_wrong_sequence_closes_before_it_is_there():
    episodes, env = fail("pick_place", "wrong_sequence")
    assert not any(successes(episodes))
    for episode in episodes:
        width, tool, bodies = channels(episode, env)
        assert np.linalg.norm((tool - bodies["cube"])[0, :3]) > 0.08
        assert episode.frames["action"][0, -1] == 0
        assert width[8] < 0.02


def test_the_wrong_object_is_taken():
    episodes, env = fail("stack", "wrong_object")
    assert not any(successes(episodes))
    for episode in episodes:
        _, _, bodies = channels(episode, env)
        assert (bodies["cube_b"][:, 2].max() - bodies["cube_b"][0, 2]) > 0.05
        assert (bodies["cube_a"][:, 2].max() - bodies["cube_a"][0, 2]) < 0.03


def test_another_thing_is_done_than_was_asked_for():
    episodes, env = fail("sort", "wrong_object", range(12))
    assert not any(successes(episodes))
    lifted = 0
    for episode in episodes:
        _, _, bodies = channels(episode, env)
        rises = [bodies[name][:, 2].max() - bodies[name][0, 2] for name in env.task.movable]
        lifted += max(rises) > 0.05
    assert lifted >= 11


def test_no_retract_stays_with_the_object_in_the_hand():
    episodes, env = fail("stack", "no_retract")
    assert not any(successes(episodes))
    for episode in episodes:
        width, tool, bodies = channels(episode, env)
        end = slice(-20, None)
        assert width[end].max() < 0.05
        assert np.ptp(tool[end, :3], axis=0).max() < 0.02
        assert np.linalg.norm((tool - bodies["cube_a"])[-1, :3]) < 0.03
        assert episode.frames["observation.stage"].max() == len(env.stage_names) - 1  # all but letting go


def test_a_failure_that_succeeds_is_a_success():
    episodes, _ = fail("pick_place", "rotation")  # the cube turns into the gripper
    assert all(successes(episodes))


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("task", "failure", "sentence"),
    [
        ("lift", "slpi", "unknown expert.failure 'slpi'; did you mean 'slip'?"),
        (
            "reach",
            "slip",
            "expert.failure=slip makes no sense, for task 'reach' has nothing to grasp; valid: translation, mix",
        ),
        ("lift", "wrong_object", "for task 'lift' has one object and one thing to do"),
        ("lift", "no_retract", "for task 'lift' ends with the object in the hand"),
        ("lfit", "slip", "no scripted expert for task 'lfit'; did you mean 'lift'?"),
    ],
)
def test_what_makes_no_sense_is_explained(task, failure, sentence):
    schema = MujocoVecEnv("lift").schema
    with pytest.raises(UserError) as error:
        FailingExpert(task, schema, 1, failure=failure)
    assert sentence in str(error.value)
