"""Gymnasium environments by id: channels, success, seeds, worker processes, and what users get wrong."""

import sys
from functools import cache

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from vec_env_contract import CONTRACT, closes_twice, play, random_actions

from robolearn.errors import UserError
from robolearn.sim.backends.gymnasium import GymnasiumVecEnv

ENDLESS = {"Pendulum-v1": {}, "MountainCarContinuous-v0": {}, "tests/Goal-v0": {"wide": 9.0}}


class GoalEnv(gymnasium.Env):
    """Move a point onto a goal; the shape of Gymnasium-Robotics' Fetch tasks."""

    metadata = {"render_modes": [], "render_fps": 25}  # noqa: RUF012
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, wide=0.2, report="is_success", early=False):
        box = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.observation_space = spaces.Dict({"observation": box, "achieved_goal": box, "desired_goal": box})
        self.wide, self.report, self.early = wide, report, early
        self.task_description = ""

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.goal = self.np_random.uniform(-0.5, 0.5, (2, 2)) + np.array([[-self.wide], [self.wide]])
        self.task_description = "go left" if self.goal[0] < self.place[0] else "go right"
        return self._look(), {}

    def step(self, action):
        self.place += 0.1 * action
        there = bool(np.abs(self.goal - self.place).max() < 0.2)
        info = {self.report: np.float32(there)} if self.report else {}
        return self._look(), float(there) - 0.25, there and self.early, False, info

    def _look(self):
        return {"observation": self.place * 2, "achieved_goal": self.place, "desired_goal": self.goal}


class PictureEnv(GoalEnv):
    """A camera and joint positions, as LeRobot's environments show them."""

    def __init__(self):
        super().__init__()
        picture = spaces.Box(0, 255, (4, 6, 3), np.uint8)
        cameras = spaces.Dict({"top": picture, "wrist": picture})
        self.observation_space = spaces.Dict({"pixels": cameras, "agent_pos": spaces.Box(-1, 1, (2,), np.float64)})

    def _look(self):
        shade = np.full((4, 6, 3), int(np.clip(128 + 50 * self.place[0], 0, 255)), np.uint8)
        return {"pixels": {"top": shade, "wrist": 255 - shade}, "agent_pos": self.place}


class OddEnv(GoalEnv):
    """Spaces that cannot be used, by name."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, odd):
        super().__init__()
        if odd == "observation":
            self.observation_space = spaces.Dict({"count": spaces.Discrete(3)})
        if odd == "actions":
            self.action_space = spaces.Discrete(2)
        if odd == "bounds":
            self.action_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)


gymnasium.register("tests/Goal-v0", entry_point=GoalEnv, max_episode_steps=50)
gymnasium.register("tests/Picture-v0", entry_point=PictureEnv, max_episode_steps=50)
gymnasium.register("tests/Odd-v0", entry_point=OddEnv, max_episode_steps=50)
gymnasium.register("tests/Forever-v0", entry_point=GoalEnv)
gymnasium.register("tests/Batch-v0", vector_entry_point=GoalEnv)  # as Meta-World's benchmarks of several tasks


@cache
def makers(env_id):
    @cache
    def make(*, num_envs, autoreset):
        return GymnasiumVecEnv(
            env_id, num_envs=num_envs, autoreset=autoreset, max_episode_steps=5, **ENDLESS.get(env_id, {})
        )

    return make


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "MountainCarContinuous-v0", "tests/Goal-v0", "tests/Picture-v0"])
@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_gymnasium_keeps_the_contract(check, env_id):
    check(makers(env_id))


def test_it_closes_twice():
    closes_twice(makers("Pendulum-v1").__wrapped__)


def test_an_episode_is_the_one_that_gymnasium_gives_for_the_seed():
    single = gymnasium.make("Pendulum-v1")
    env = GymnasiumVecEnv("Pendulum-v1", num_envs=2, autoreset=False)
    observation, _ = env.reset(seed=[4, 9])
    expected, _ = single.reset(seed=9)
    np.testing.assert_array_equal(observation["observation.state"][1], expected)
    for action in random_actions(env, 5):
        observation, reward, *_ = env.step(np.stack([-action, action]))
        expected, gained, *_ = single.step(action)
        np.testing.assert_array_equal(observation["observation.state"][1], expected)
        assert reward[1] == pytest.approx(gained)


def test_control_rate_and_time_limit_are_the_environment_s():
    pendulum = GymnasiumVecEnv("Pendulum-v1")
    assert (pendulum.schema.fps, pendulum.max_episode_steps) == (20, 200)  # its dt, though it is drawn at 30 Hz
    goal = GymnasiumVecEnv("tests/Goal-v0", fps=10, max_episode_steps=3)
    assert (goal.schema.fps, goal.max_episode_steps) == (10, 3)


def test_goals_are_environment_state():
    env = GymnasiumVecEnv("tests/Goal-v0", autoreset=False)
    assert list(env.schema) == ["observation.state", "observation.environment_state", "action"]
    assert env.schema["observation.state"].names == ("observation_0", "observation_1")
    goals = ("achieved_goal_0", "achieved_goal_1", "desired_goal_0", "desired_goal_1")
    assert env.schema["observation.environment_state"].names == goals
    observation, _ = env.reset(seed=1)
    achieved = observation["observation.environment_state"][:, :2]
    np.testing.assert_allclose(observation["observation.state"], 2 * achieved, rtol=1e-6)


def test_cameras_are_images():
    env = GymnasiumVecEnv("tests/Picture-v0", num_envs=2)
    top, wrist = (env.schema[f"observation.images.{name}"] for name in ("top", "wrist"))
    assert (top.dtype, top.shape, top.names) == ("image", (4, 6, 3), ("height", "width", "channels"))
    assert wrist == top
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation["observation.images.wrist"], 255 - observation["observation.images.top"])
    assert observation["observation.state"].shape == (2, 2)


def towards_the_goal(env, observation):
    goals = observation["observation.environment_state"]
    return np.clip(10 * (goals[:, 2:] - goals[:, :2]), env.single_action_space.low, env.single_action_space.high)


def run_to_the_goal(env, steps=40):
    """Outcomes of `step` until the episode ends."""
    observation, _ = env.reset(seed=3)
    outcomes = []
    for _ in range(steps):
        outcomes.append(env.step(towards_the_goal(env, observation)))
        observation = outcomes[-1][0]
        if outcomes[-1][2].any() or outcomes[-1][3].any():
            break
    return outcomes


@pytest.mark.parametrize("report", ["is_success", "success"])
def test_success_is_what_the_environment_reports(report):
    env = GymnasiumVecEnv("tests/Goal-v0", report=report, autoreset=False)
    *before, (_, reward, terminated, truncated, info) = run_to_the_goal(env)
    assert terminated.all()
    assert not truncated.any()
    assert (info["success"].all(), info["stage"].tolist(), info["progress"].tolist()) == (True, [1], [1.0])
    assert reward == 0.75
    assert before
    assert not any(outcome[4]["success"].any() for outcome in before)


def test_where_nothing_is_reported_success_is_an_end_with_a_reward():
    env = GymnasiumVecEnv("tests/Goal-v0", report=None, early=True, autoreset=False)
    *before, last = run_to_the_goal(env)
    assert last[4]["success"].all()
    assert not any(outcome[4]["success"].any() for outcome in before)
    never = GymnasiumVecEnv("tests/Goal-v0", report=None, autoreset=False)
    outcomes = run_to_the_goal(never)
    assert outcomes[-1][1] == 0.75  # it is there, and nobody says so
    assert not any(outcome[4]["success"].any() for outcome in outcomes)


def test_success_need_not_end_the_episode():
    env = GymnasiumVecEnv("tests/Goal-v0", success_ends=False, max_episode_steps=30, autoreset=False)
    outcomes = run_to_the_goal(env)
    assert len(outcomes) == 30
    assert outcomes[-2][4]["success"].all()
    assert [outcomes[-1][k].tolist() for k in (2, 3)] == [[False], [True]]


def test_success_at_the_time_limit_is_no_truncation():
    steps = len(run_to_the_goal(GymnasiumVecEnv("tests/Goal-v0", autoreset=False)))
    env = GymnasiumVecEnv("tests/Goal-v0", max_episode_steps=steps, autoreset=False)
    ends = [outcome[2:4] for outcome in run_to_the_goal(env)]
    assert [(bool(terminated), bool(truncated)) for terminated, truncated in ends[-2:]] == [
        (False, False),
        (True, False),
    ]


def test_the_sparse_reward_is_success():
    env = GymnasiumVecEnv("tests/Goal-v0", reward="sparse", autoreset=False)
    rewards = [float(outcome[1][0]) for outcome in run_to_the_goal(env)]
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]


def test_the_instruction_is_that_of_the_present_episode():
    env = GymnasiumVecEnv("tests/Goal-v0", num_envs=8, wide=0.0, autoreset=False)
    observation, _ = env.reset(seed=0)
    goals = observation["observation.environment_state"]
    expected = ["go left" if left else "go right" for left in goals[:, 2] < goals[:, 0]]
    assert env.instructions == expected
    assert set(expected) == {"go left", "go right"}
    pendulum = GymnasiumVecEnv("Pendulum-v1")
    pendulum.reset(seed=0)
    assert pendulum.instructions == ["Pendulum-v1"]


class DrawsBeforeItSeeds(gymnasium.Wrapper):
    """Chooses a task from the generator and then seeds it, as Meta-World's wrapper does."""

    def reset(self, *, seed=None, options=None):
        task = int(self.np_random.integers(1000))
        observation, info = self.env.reset(seed=None)
        return observation | {"desired_goal": np.full(2, task, np.float64)}, info


gymnasium.register("tests/Task-v0", entry_point=lambda: DrawsBeforeItSeeds(GoalEnv()), max_episode_steps=50)


def test_an_environment_that_draws_before_it_seeds_repeats_its_episodes():
    env = GymnasiumVecEnv("tests/Task-v0", num_envs=2, autoreset=False)
    first, again, other = (env.reset(seed=seed)[0]["observation.environment_state"] for seed in (5, 5, 9))
    np.testing.assert_array_equal(first, again)
    assert (first[:, 2:] != other[:, 2:]).all()


def test_processes_do_not_matter():
    here = GymnasiumVecEnv("Pendulum-v1", num_envs=3, max_episode_steps=6, autoreset=False)
    there = GymnasiumVecEnv("Pendulum-v1", num_envs=3, processes=2, max_episode_steps=6, autoreset=False)
    try:
        a, b = (play(env, [5, 1, 8]) for env in (here, there))
        for key, values in a.items():
            np.testing.assert_array_equal(values, b[key])
        mask = np.array([False, False, True])
        for env in (here, there):
            env.reset(seed=[None, None, 3], options={"reset_mask": mask})
        actions = np.zeros((3, 1))
        np.testing.assert_array_equal(
            here.step(actions)[0]["observation.state"], there.step(actions)[0]["observation.state"]
        )
        assert there.instructions == here.instructions
    finally:
        there.close()
    there.close()
    assert not any(process.is_alive() for process in there._pool._processes)


def test_what_fails_in_a_process_is_raised_here():
    # the ids of this file are not registered in a fresh process
    with pytest.raises(UserError, match="unknown environment 'tests/Goal-v0'"):
        GymnasiumVecEnv("tests/Goal-v0", num_envs=2, processes=1)


def test_a_step_needs_a_reset():
    with pytest.raises(ResetNeeded):
        GymnasiumVecEnv("Pendulum-v1").step(np.zeros((1, 1)))


@pytest.mark.parametrize(
    ("env_id", "options", "sentence"),
    [
        ("Pendulun-v1", {}, "unknown environment 'Pendulun-v1'; did you mean 'Pendulum-v1'?"),
        ("Pendulum-v9", {}, "unknown environment 'Pendulum-v9'; did you mean 'Pendulum-v1'?"),
        ("Metaworld/MT1", {}, "unknown environment 'Metaworld/MT1'"),
        ("no_such_module:Arm-v0", {}, "'no_such_module:Arm-v0' needs the module 'no_such_module'"),
        ("Pendulum-v1", {"gravity": 9.8}, "'Pendulum-v1' cannot be made with the arguments {'gravity': 9.8}"),
        ("CartPole-v1", {}, "the actions of 'CartPole-v1' are Discrete(2): only boxes of real numbers can be used"),
        ("tests/Odd-v0", {"odd": "bounds"}, "the actions of 'tests/Odd-v0' have no bounds"),
        ("tests/Odd-v0", {"odd": "observation"}, "the observation 'count' is Discrete(3)"),
        ("tests/Odd-v0", {"odd": "rate"}, "'tests/Odd-v0' does not say how often it is controlled: give fps"),
        ("tests/Batch-v0", {}, "'tests/Batch-v0' cannot be made as a single world"),
        ("tests/Forever-v0", {}, "'tests/Forever-v0' has no time limit of its own: give max_episode_steps"),
        ("Pendulum-v1", {"reward": "spares"}, "unknown reward 'spares'; did you mean 'sparse'?"),
        ("Pendulum-v1", {"num_envs": 0}, "num_envs must be at least 1"),
        ("Pendulum-v1", {"num_envs": 2, "processes": 3}, "processes must lie between 0"),
    ],
)
def test_a_mistake_is_explained(env_id, options, sentence):
    with pytest.raises(UserError) as error:
        GymnasiumVecEnv(env_id, **options)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("env_id", "distribution"),
    [
        ("Meta-World/MT1", "metaworld"),
        ("Meta-World/assembly-v3", "metaworld"),
        ("FetchReach-v4", "gymnasium-robotics"),
        ("AdroitHandDoor-v1", "gymnasium-robotics"),
    ],
)
def test_a_package_that_is_not_installed_is_named(env_id, distribution, monkeypatch):
    monkeypatch.setitem(sys.modules, distribution.replace("-", "_"), None)
    with pytest.raises(UserError, match=f"'{env_id}' needs the module '.*': pip install {distribution}"):
        GymnasiumVecEnv(env_id)
