"""robosuite's tasks behind our protocol: their own episodes, fresh observations, success, and what users get wrong."""

from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
from vec_env_contract import CONTRACT, closes_twice, play, random_actions

from robolearn.errors import UserError
from robolearn.sim.backends import robosuite as backend
from robolearn.sim.backends.robosuite import ROBOTS, TASKS, RobosuiteVecEnv
from robolearn.sim.backends.robosuite_shim import load_robosuite

pytestmark = pytest.mark.skipif(find_spec("robosuite") is None, reason="needs the extra `robosuite`")


@cache
def makers(task):
    @cache
    def make(*, num_envs, autoreset):
        return RobosuiteVecEnv(task, num_envs=num_envs, autoreset=autoreset, max_episode_steps=4)

    return make


def part(env, observation, channel, *starts):
    """Components [num_envs, n] whose names begin like this, in order."""
    names = env.schema[channel].names
    chosen = [i for start in starts for i, name in enumerate(names) if name.startswith(start)]
    return observation[channel][:, chosen]


def eef(env, observation):
    return part(env, observation, "observation.state", "eef_x", "eef_y", "eef_z")


def objects(env, observation, *starts):
    return part(env, observation, "observation.environment_state", *starts)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_lift_keeps_the_contract(check):
    check(makers("Lift"))


@pytest.mark.slow
@pytest.mark.parametrize("task", [task for task in TASKS if task != "Lift"])
@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_the_other_tasks_keep_the_contract(check, task):
    check(makers(task))


def test_it_closes_twice():
    closes_twice(makers("Lift").__wrapped__)


def raw(task):
    """robosuite's environment without us, at its fastest."""
    return load_robosuite().make(
        task,
        robots="Panda",
        has_renderer=False,
        has_offscreen_renderer=False,
        use_camera_obs=False,
        reward_shaping=True,
        hard_reset=False,
        seed=0,
    )


def test_an_episode_is_robosuite_s_own():
    env, theirs = RobosuiteVecEnv(reward="dense", autoreset=False), raw("Lift")
    theirs.rng.bit_generator.state = np.random.default_rng(6).bit_generator.state
    expected = theirs.reset()
    observation, _ = env.reset(seed=[6])
    for action in [*random_actions(env, 15), None]:
        np.testing.assert_allclose(
            observation["observation.environment_state"][0], expected["object-state"], rtol=0, atol=1e-7
        )
        np.testing.assert_array_equal(
            observation["observation.state"][0, :7], expected["robot0_joint_pos"].astype(np.float32)
        )
        np.testing.assert_array_equal(eef(env, observation)[0], expected["robot0_eef_pos"].astype(np.float32))
        if action is not None:
            expected, gained, *_ = theirs.step(action)
            observation, reward, *_, info = env.step(action[None])
            assert reward[0] == info["progress"][0] == gained


def lift(env, observation, k):
    """Actions of a simple expert: down to the cube, close, up; k counts control steps."""
    gap = objects(env, observation, "cube_pos") - eef(env, observation)
    action = np.zeros((env.num_envs, 7))
    action[:, :3] = np.clip(20 * gap, -1, 1) if k < 35 else (0, 0, 1)
    action[:, 6] = -1 if k < 25 else 1
    return action


def run_lift(env, steps=70):
    """Outcomes of `step` until every world has succeeded once."""
    observation, _ = env.reset(seed=0)
    outcomes = []
    for k in range(steps):
        outcomes.append(env.step(lift(env, observation, k)))
        observation = outcomes[-1][0]
        if outcomes[-1][2].any():
            break
    return outcomes


def test_success_terminates_and_pays_once():
    env = RobosuiteVecEnv(autoreset=False)
    *before, (observation, reward, terminated, truncated, info) = run_lift(env)
    assert terminated.all()
    assert not truncated.any()
    assert (reward.tolist(), info["success"].tolist(), info["stage"].tolist()) == ([1.0], [True], [1])
    assert info["progress"] == 1.0
    assert objects(env, observation, "cube_pos_z") > 0.84  # the table is at 0.8 m, success at 0.04 m above
    progress = np.array([outcome[4]["progress"][0] for outcome in before])
    assert progress[-1] > progress[0] + 0.5  # reached and grasped
    assert (progress < 1).all()
    assert sum(outcome[1][0] for outcome in before) == 0
    width = part(env, observation, "observation.state", "gripper_width")
    assert 0.038 < width < 0.062  # an edge of the cube to a diagonal


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "thing"), [("PickPlaceCan", "Can"), ("NutAssemblySquare", "SquareNut"), ("ToolHang", "tool")]
)
def test_relative_poses_are_of_now(task, thing):
    env = RobosuiteVecEnv(task, autoreset=False)
    observation, _ = env.reset(seed=2)
    for action in [*random_actions(env, 6), None]:
        distance = np.linalg.norm(objects(env, observation, f"{thing}_pos") - eef(env, observation))
        seen = np.linalg.norm(objects(env, observation, f"{thing}_to_robot0_eef_pos"))
        assert seen == pytest.approx(distance, abs=1e-6)
        if action is not None:
            observation, *_ = env.step(action[None])


def test_names_and_units_are_said():
    env = makers("Lift")(num_envs=1, autoreset=False)
    state, things, action = (env.schema[key] for key in env.schema)
    assert state.names[:9] == (*(f"joint{i}" for i in range(1, 8)), "gripper_width", "eef_x")
    assert state.unit[6:9] == ("rad", "m", "m")
    assert things.names[2:5] == ("cube_pos_z", "cube_quat_x", "cube_quat_y")
    assert things.unit[2:5] == ("m", "1", "1")
    assert (action.names[0], action.names[-1], set(action.low), set(action.high)) == ("dx", "gripper", {-1.0}, {1.0})
    assert env.schema.fps == 20
    assert env.instructions == ["lift the cube"]


def test_the_orientation_is_a_rotation():
    env = makers("Lift")(num_envs=1, autoreset=False)
    for values in play(env, [1])["observation.state"][:, 0, -6:]:
        first, second = values[:3], values[3:]
        assert [first @ first, second @ second, first @ second] == pytest.approx([1, 1, 0], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("robot", [robot for robot in ROBOTS if robot != "Panda"])
def test_other_arms_show_their_finger_joints(robot):
    env = RobosuiteVecEnv(robot=robot, max_episode_steps=4, autoreset=False)
    observation, _ = env.reset(seed=0)
    env.schema.select(env.schema.observation_keys).validate(observation, lead=1)
    names = env.schema["observation.state"].names
    assert "gripper_width" not in names
    assert any("finger" in name for name in names)
    assert env.schema.action.shape == (7,)
    first = play(env, [3])
    for key, values in play(env, [3]).items():
        np.testing.assert_array_equal(values, first[key])


@pytest.mark.slow
def test_a_hard_reset_draws_the_cube_s_size_from_the_seed():
    def sizes(env):
        found = []
        for seed in (1, 2, 1):
            env.reset(seed=[seed])
            model = env._pool._worlds[0]._env.sim.model
            found.append(model.geom_size[model.geom_name2id("cube_g0")].tolist())
        return found

    first, second, again = sizes(RobosuiteVecEnv(hard_reset=True, autoreset=False))
    assert first == again != second
    kept = sizes(RobosuiteVecEnv(autoreset=False))
    assert kept[0] == kept[1] == kept[2] == sizes(RobosuiteVecEnv(autoreset=False))[0]
    env = RobosuiteVecEnv(hard_reset=True, max_episode_steps=4, autoreset=False)
    episode = play(env, [8])
    play(env, [9])
    for key, values in play(env, [8]).items():
        np.testing.assert_array_equal(values, episode[key])


@pytest.mark.slow
def test_processes_do_not_matter():
    here = makers("Lift")(num_envs=3, autoreset=False)
    there = RobosuiteVecEnv("Lift", num_envs=3, processes=2, max_episode_steps=4, autoreset=False)
    try:
        a, b = (play(env, [5, 1, 8]) for env in (here, there))
        for key, values in a.items():
            np.testing.assert_array_equal(values, b[key])
    finally:
        there.close()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"task": "Lfit"}, "unknown robosuite task 'Lfit'; did you mean 'Lift'?"),
        ({"robot": "Pnada"}, "unknown robosuite robot 'Pnada'; did you mean 'Panda'?"),
        ({"fps": 30}, "a control step of 1/30 s is no whole number of physics steps of 0.002 s"),
        ({"fps": 0}, "a control step of 1/0 s is no whole number"),
        ({"reward": "spares"}, "unknown reward 'spares'; did you mean 'sparse'?"),
    ],
)
def test_a_mistake_is_explained(options, sentence):
    with pytest.raises(UserError) as error:
        RobosuiteVecEnv(**options)
    assert sentence in str(error.value)


def test_a_missing_robosuite_is_named(monkeypatch):
    def missing():
        raise ModuleNotFoundError("No module named 'robosuite'", name="robosuite")

    monkeypatch.setattr(backend, "load_robosuite", missing)
    with pytest.raises(UserError, match="robosuite is not installed"):
        RobosuiteVecEnv()
