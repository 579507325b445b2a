"""The batch of MuJoCo worlds: determinism, episodes, limits, and what users get wrong."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robolearn.action_space import ACTION_SPACES
from robolearn.errors import UserError
from robolearn.proprioception import pose_vector, proprioception
from robolearn.protocols import VecEnv
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.experts.scripted import ScriptedExpert
from robolearn.sim.robots.panda import PANDA
from robolearn.sim.single_env import RobotEnv

LIMITS = np.array(PANDA.max_velocity), np.array(PANDA.max_acceleration)


def random_actions(env, steps, seed=0):
    """Actions [steps, action_dim], the same for every world."""
    rng = np.random.default_rng(seed)
    space = env.single_action_space
    return rng.uniform(space.low, space.high, (steps, *space.shape)).astype(np.float32)


def play(env, seeds, *, steps=12):
    """Observations [steps + 1, num_envs, ...] by channel; each world's actions depend on its seed alone."""
    plans = np.stack([random_actions(env, steps, seed) for seed in seeds], axis=1)
    frames = [env.reset(seed=seeds)[0]]
    frames += [env.step(actions)[0] for actions in plans]
    return {key: np.stack([frame[key] for frame in frames]) for key in frames[0]}


@pytest.fixture(scope="module")
def single():
    env = MujocoVecEnv(autoreset=False)
    yield env
    env.close()


def test_it_is_a_vec_env_of_its_spaces():
    env = MujocoVecEnv(num_envs=3)
    assert isinstance(env, VecEnv)
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert {key: value.shape for key, value in info.items()} == dict.fromkeys(("success", "stage", "progress"), (3,))
    observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation)
    assert (reward.shape, terminated.dtype, truncated.dtype) == ((3,), bool, bool)


def test_a_world_depends_on_its_seed_alone(single):
    seeds = [7, 3, 11, 5]
    many = MujocoVecEnv(num_envs=16, threads=2, autoreset=False)
    filler = [*seeds, *range(100, 112)]
    together = play(many, filler)
    backwards = play(many, filler[::-1])
    for place, seed in enumerate(seeds):
        alone = play(single, [seed])
        for key, values in alone.items():
            np.testing.assert_array_equal(values[:, 0], together[key][:, place])
            np.testing.assert_array_equal(values[:, 0], backwards[key][:, 15 - place])


def test_threads_do_not_matter():
    one, two = (play(MujocoVecEnv(num_envs=5, threads=n, autoreset=False), range(5)) for n in (1, 2))
    for key, values in one.items():
        np.testing.assert_array_equal(values, two[key])


def test_an_integer_seed_counts_up_over_the_worlds(single):
    pair = MujocoVecEnv(num_envs=2)
    observation, _ = pair.reset(seed=40)
    for world in range(2):
        np.testing.assert_array_equal(
            observation["observation.environment_state"][world],
            single.reset(seed=40 + world)[0]["observation.environment_state"][0],
        )


def test_seeds_differ_and_repeat(single):
    first, again, other = (single.reset(seed=[seed])[0]["observation.environment_state"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_later_episodes_of_a_world_do_not_depend_on_the_others():
    def third_start(num_envs):
        env = MujocoVecEnv(num_envs=num_envs, autoreset=False)
        env.reset(seed=20)
        mask = np.arange(num_envs) == 0
        for _ in range(2):
            observation, _ = env.reset(options={"reset_mask": mask})
        return observation["observation.environment_state"][0]

    np.testing.assert_array_equal(third_start(1), third_start(4))


def test_a_masked_reset_leaves_the_other_worlds_alone():
    env, undisturbed = (MujocoVecEnv(num_envs=3, autoreset=False) for _ in range(2))
    actions = np.repeat(random_actions(env, 8)[:, None], 3, axis=1)
    for e in (env, undisturbed):
        e.reset(seed=0)
        for action in actions[:4]:
            before, *_ = e.step(action)
    after, _ = env.reset(seed=[None, 77, None], options={"reset_mask": np.array([False, True, False])})
    for key in after:
        np.testing.assert_array_equal(after[key][[0, 2]], before[key][[0, 2]])
    np.testing.assert_array_equal(after["observation.state"][1], env.reset(seed=[0, 77, 2])[0]["observation.state"][1])

    env.reset(seed=0)
    for action in actions[:4]:
        env.step(action)
    env.reset(seed=[None, 77, None], options={"reset_mask": np.array([False, True, False])})
    for action in actions[4:]:
        touched, *_ = env.step(action)
        expected, *_ = undisturbed.step(action)
    np.testing.assert_array_equal(touched["observation.state"][[0, 2]], expected["observation.state"][[0, 2]])
    assert np.abs(touched["observation.state"][1] - expected["observation.state"][1]).max() > 1e-3


def expert_steps(env, seed, steps):
    """Yield the outcome of `step` under the clean expert."""
    expert = ScriptedExpert("lift", env.schema, env.num_envs)
    expert.reset([seed + i for i in range(env.num_envs)])
    observation, _ = env.reset(seed=seed)
    for _ in range(steps):
        action = expert.act(observation)
        outcome = env.step(action)
        observation = outcome[0]
        yield outcome


def test_success_terminates_and_the_time_limit_truncates():
    env = MujocoVecEnv(num_envs=2, max_episode_steps=60, autoreset=False)
    for t, (_, reward, terminated, truncated, info) in enumerate(expert_steps(env, 0, 60)):
        np.testing.assert_array_equal(terminated, info["success"])
        np.testing.assert_array_equal(reward, info["success"].astype(float))
        assert not (terminated & truncated).any()
        assert truncated.all() == (t == 59 and not terminated.any())
        if terminated.all():
            break
    assert terminated.all()
    assert t < 59
    np.testing.assert_array_equal(info["stage"], len(env.stage_names))
    np.testing.assert_array_equal(info["progress"], 1.0)

    env.reset(seed=0)
    hold = np.zeros((2, 5))
    ends = [env.step(hold)[2:4] for _ in range(60)]
    assert [truncated.any() for _, truncated in ends] == [False] * 59 + [True]
    assert not any(terminated.any() for terminated, _ in ends)


def test_a_success_in_the_last_step_is_a_success():
    def last(max_episode_steps):
        env = MujocoVecEnv(max_episode_steps=max_episode_steps, autoreset=False)
        for t, (_, _, terminated, truncated, _) in enumerate(expert_steps(env, 0, 80), start=1):
            if terminated[0] or truncated[0]:
                return t, terminated[0], truncated[0]

    needed, _, _ = last(80)
    assert last(needed) == (needed, True, False)
    assert last(needed - 1) == (needed - 1, False, True)


def test_autoreset_gives_the_last_observation_before_the_reset():
    env, manual = (MujocoVecEnv(num_envs=2, max_episode_steps=5, autoreset=auto) for auto in (True, False))
    actions = np.repeat(random_actions(env, 6)[:, None], 2, axis=1)
    for e in (env, manual):
        e.reset(seed=0)
    for t in range(5):
        observation, _, _, truncated, info = env.step(actions[t])
        expected, *_ = manual.step(actions[t])
        assert ("final_obs" in info) == truncated.all() == (t == 4)
    start, _ = manual.reset()  # the next episode of each world's own generator
    for key in expected:
        np.testing.assert_array_equal(info["final_obs"][key], expected[key])
        np.testing.assert_array_equal(observation[key], start[key])
    np.testing.assert_array_equal(info["_final_obs"], [True, True])
    np.testing.assert_array_equal(
        env.step(actions[5])[0]["observation.state"], manual.step(actions[5])[0]["observation.state"]
    )


@pytest.mark.parametrize("reward", ["stages", "dense"])
def test_the_rewards_of_an_episode_sum_up_to_what_it_achieved(reward):
    env = MujocoVecEnv(num_envs=2, reward=reward, autoreset=False)
    _, info = env.reset(seed=[0, 1])
    begun = info["progress"] if reward == "dense" else info["stage"] / 3
    total = begun.copy()
    for _, gained, terminated, _, info in expert_steps(env, 0, 80):
        total += gained
        now = info["progress"] if reward == "dense" else info["stage"] / 3
        np.testing.assert_allclose(total, now, rtol=0, atol=1e-12)
        if terminated.all():
            break
    np.testing.assert_allclose(total, 1.0, rtol=0, atol=1e-12)
    assert (begun < 0.2).all()


@pytest.mark.parametrize("reward", ["stages", "dense"])
def test_a_new_episode_owes_nothing_to_the_last_one(reward):
    env = MujocoVecEnv(num_envs=4, reward=reward, max_episode_steps=40)
    env.reset(seed=1)
    expected = MujocoVecEnv(num_envs=4, reward=reward, max_episode_steps=10**6, autoreset=False)
    for action in random_actions(env, 60):
        gained = env.step(np.repeat(action[None], 4, axis=0))[1]
        assert (np.abs(gained) <= 1).all()
    actions = random_actions(env, 40)
    env.reset(seed=3)
    expected.reset(seed=3)
    for t in range(40):  # the last step ends the episode
        both = [e.step(np.repeat(actions[t][None], 4, axis=0))[1] for e in (env, expected)]
        np.testing.assert_array_equal(*both)


def test_the_observation_is_what_the_robot_driver_would_make(single):
    single.reset(seed=3)
    for action in random_actions(single, 15):
        observation, *_ = single.step(action[None])
        state = single.worlds.state
        np.testing.assert_allclose(
            observation["observation.state"], proprioception(PANDA, state.joints, state.width), rtol=0, atol=1e-6
        )
        np.testing.assert_allclose(
            observation["observation.environment_state"], pose_vector(*state.objects["cube"]), rtol=0, atol=1e-7
        )


@pytest.mark.parametrize("space", ACTION_SPACES)
def test_commands_keep_within_the_arm_s_limits(space, monkeypatch):
    env = MujocoVecEnv(num_envs=4, action_space=space, autoreset=False)
    env.reset(seed=0)
    follow, sent = env.worlds.follow_step, [env._sent[:, None].copy()]
    monkeypatch.setattr(env.worlds, "follow_step", lambda path: (sent.append(path.copy()), follow(path)))
    plans = np.stack([random_actions(env, 60, seed) for seed in range(4)], axis=1)
    plans[:, 2:] = np.sign(plans[:, 2:]) * 1e3  # far beyond the bounds, to be clipped
    plans[20:, 3] = plans[20, 3]  # and steadily against a limit
    for actions in plans:
        env.step(actions)
    path = np.concatenate(sent, axis=1)
    velocity = np.diff(path, axis=1) / env.worlds.model.opt.timestep
    acceleration = np.diff(velocity, axis=1) / env.worlds.model.opt.timestep
    joints = path[..., :-1]
    assert ((joints >= PANDA.lower) & (joints <= PANDA.upper)).all()
    assert ((path[..., -1] >= 0) & (path[..., -1] <= PANDA.gripper_width)).all()
    assert (np.abs(velocity[..., :-1]) <= LIMITS[0] * (1 + 1e-9)).all()
    assert (np.abs(velocity[..., -1]) <= PANDA.gripper_speed * (1 + 1e-9)).all()
    inside = ((joints > PANDA.lower) & (joints < PANDA.upper))[:, 2:]  # at a position limit the command stops there
    assert (np.abs(acceleration[..., :-1]) <= LIMITS[1] * (1 + 1e-6))[inside].all()
    assert inside.mean() > 0.9
    assert np.abs(velocity[..., :-1]).max() > 0.2  # it did move


def test_an_action_that_is_not_finite_is_named(single):
    single.reset(seed=0)
    action = np.zeros((1, 5))
    action[0, 3] = np.nan
    with pytest.raises(ValueError, match="action 'yaw' of world 0 is not finite"):
        single.step(action)
    with pytest.raises(ValueError, match=r"actions have shape \(2, 5\), expected \(1, 5\)"):
        single.step(np.zeros((2, 5)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"task": "lfit"}, "unknown task 'lfit'; did you mean 'lift'?"),
        ({"robot": "pnada"}, "unknown robot 'pnada'; did you mean 'panda'?"),
        ({"reward": "spares"}, "unknown reward 'spares'; did you mean 'sparse'?"),
        ({"action_space": "ee_dleta"}, "unknown action space 'ee_dleta'; did you mean 'ee_delta'?"),
        ({"num_envs": 0}, "at least 1"),
        ({"threads": 0}, "at least 1"),
        ({"fps": 30}, "a control step of 1/30 s is no whole number of physics steps of 0.005 s"),
    ],
)
def test_a_wrong_name_or_number_is_explained(options, sentence):
    with pytest.raises(UserError) as error:
        MujocoVecEnv(**options)
    assert sentence in str(error.value)


def test_as_many_seeds_as_worlds(single):
    with pytest.raises(UserError, match="2 seeds for 1 worlds"):
        single.reset(seed=[1, 2])


def test_physics_that_goes_wrong_is_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log file into the working folder
    env = MujocoVecEnv(num_envs=3, autoreset=False)
    env.reset(seed=0)
    hold = np.zeros((3, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.step(hold)
        env.worlds._qvel[1] = 1e12
        with pytest.raises(RuntimeWarning, match="world 1: mjWARN_BADQVEL"):
            env.step(hold)
    env.reset(seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.step(hold)


# ---------------------------------------------------------------- one world


@pytest.fixture
def one():
    env = gymnasium.make("robolearn/Lift-v0", render_mode="rgb_array")
    yield env
    env.close()


@pytest.mark.filterwarnings("ignore:.*A Box observation space m:UserWarning")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", [{}, {"reward": "dense", "action_space": "joint_delta"}])
def test_gymnasium_s_checker_passes(options):
    check_env(gymnasium.make("robolearn/Lift-v0", render_mode="rgb_array", **options).unwrapped)


def test_the_single_world_is_a_world_of_the_batch(one, single):
    observation, info = one.reset(seed=9)
    expected, _ = single.reset(seed=[9])
    assert info["is_success"] is False
    for action in random_actions(single, 10):
        for key in expected:
            np.testing.assert_array_equal(observation[key], expected[key][0])
        observation, reward, terminated, truncated, info = one.step(action)
        expected, *_ = single.step(action[None])
        assert (reward, terminated, truncated) == (0.0, False, False)


def test_the_time_limit_is_gymnasium_s(one):
    assert one.spec.max_episode_steps == one.get_wrapper_attr("_max_episode_steps") == 80
    env = gymnasium.make("robolearn/Lift-v0", max_episode_steps=7)
    env.reset(seed=0)
    ends = [env.step(np.zeros(5, np.float32))[2:4] for _ in range(7)]
    assert ends == [(False, False)] * 6 + [(False, True)]


def test_episodes_without_a_seed_follow_from_the_last_seed(one):
    def starts():
        seeded, _ = one.reset(seed=4)
        return [seeded, one.reset()[0], one.reset()[0]]

    first, again = starts(), starts()
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a["observation.environment_state"], b["observation.environment_state"])
    cubes = [start["observation.environment_state"][:2].tolist() for start in first]
    assert cubes[0] != cubes[1] != cubes[2]


def test_pictures(one):
    one.reset(seed=0)
    before = one.render()
    for _ in range(5):
        one.step(np.array([0, 0, -0.02, 0, 0.08], np.float32))
    after = one.render()
    assert before.shape == after.shape
    assert before.dtype == np.uint8
    assert (before != after).any()
    quiet = RobotEnv()
    quiet.reset(seed=0)
    assert quiet.render() is None
    with pytest.raises(UserError, match="unknown render_mode 'human'; valid: rgb_array"):
        RobotEnv(render_mode="human")
