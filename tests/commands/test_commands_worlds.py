"""The verbs on other people's tasks: which backend a task's name means, demonstrations, and the chain at toy sizes."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from toy_options import ALGO, ENV, POLICY

from robolearn.cli import main
from robolearn.commands.attempts import Scenario
from robolearn.commands.worlds import backend_of, make_any_env, make_env
from robolearn.compose import build, compose
from robolearn.data.dataset import EpisodeDataset
from robolearn.errors import UserError
from robolearn.eval.rollout import run_episodes

PACKAGES = {
    "metaworld_assembly": "metaworld",
    "metaworld_box_close": "metaworld",
    "metaworld_stick_pull": "metaworld",
    "metaworld_peg_insert_side": "metaworld",
    "fetch_pick_and_place": "gymnasium_robotics",
    "robosuite_lift": "robosuite",
    "robosuite_square": "robosuite",
}
EXTRAS = {"gymnasium_robotics": "fetch"}  # where they are not called like their package


def needs(package):
    extra = EXTRAS.get(package, package)
    return pytest.mark.skipif(find_spec(package) is None, reason=f"needs the extra `{extra}`")


def tasks(*names):
    return [pytest.param(name, marks=needs(PACKAGES[name])) for name in names or PACKAGES]


def composed(*words, verb="collect"):
    return build(verb, compose(verb, [*ENV, *words]))


@pytest.mark.parametrize(
    ("task", "given", "meant"),
    [
        ("lift", "mujoco", "mujoco"),
        ("lift", "warp", "warp"),
        ("Meta-World/assembly-v3", "mujoco", "gymnasium"),
        ("Pendulum-v1", "mujoco", "gymnasium"),
        ("my_package:Arm", "mujoco", "gymnasium"),
        ("robosuite/Lift", "mujoco", "robosuite"),
        ("Lift", "robosuite", "robosuite"),
        ("Arm", "gymnasium", "gymnasium"),
    ],
)
def test_a_task_s_name_says_whose_it_is(task, given, meant):
    config = composed(f"task.name={task}", f"env.backend={given}")
    assert backend_of(config.task, config.env) == meant


@pytest.mark.parametrize("task", tasks())
def test_the_presets_say_what_the_environment_is(task):
    config = composed(f"task={task}")
    env = make_any_env(config.task, config.robot, config.env, num_envs=1)
    assert (env.schema.fps, env.max_episode_steps) == (config.task.fps, config.task.max_episode_steps)
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("task", tasks())
def test_a_noisy_expert_succeeds_mostly(task):
    config = composed(f"task={task}", "expert.noise=0.1", "env.num_envs=5")
    env, expert = Scenario(config.task, config.robot, config.env, config.expert, config.randomization).make()
    episodes = run_episodes(env, expert, range(10))
    assert sum(episode.success for episode in episodes) >= 6
    env.close()


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    out = tmp_path_factory.mktemp("worlds") / "demos"
    words = ("task=fetch_pick_and_place", "expert.noise=0.5", "num_episodes=3")
    assert main(["collect", *words, *ENV, f"out={out}"]) == 0
    return out


@needs("gymnasium_robotics")
def test_demonstrations_are_a_dataset_like_any_other(demos):
    data = EpisodeDataset.load(demos)
    assert data.num_episodes == 3
    assert data.columns["success"] == [True] * 3
    assert data.stage_names == ("task",)
    assert (data.schema.fps, set(data.tasks)) == (25, {"FetchPickAndPlace-v4"})
    assert set(data.schema) >= {"observation.state", "observation.environment_state", "action"}
    for k in range(3):
        assert (np.abs(data.episode(k)["action"]) <= 1).all()
        assert set(data.episode(k)["observation.stage"].ravel().tolist()) == {0}
    assert json.loads((demos / "meta/info.json").read_text())["robot_type"] == "fetch"
    told = json.loads((demos / "collect.json").read_text())
    assert told["successes"] == 3
    assert told["joint_jerk"] is None


@needs("gymnasium_robotics")
def test_the_number_of_worlds_makes_no_difference(demos, tmp_path):
    words = ("task=fetch_pick_and_place", "expert.noise=0.5", "num_episodes=3", *ENV, "env.num_envs=3")
    assert main(["collect", *words, f"out={tmp_path / 'again'}"]) == 0
    first, second = EpisodeDataset.load(demos), EpisodeDataset.load(tmp_path / "again")
    assert first.columns == second.columns
    for key, values in first.channels.items():
        np.testing.assert_array_equal(values, second.channels[key])


@pytest.mark.slow
@pytest.mark.parametrize("task", tasks("metaworld_box_close", "fetch_pick_and_place", "robosuite_lift"))
def test_demonstrations_become_a_policy_that_is_fine_tuned_and_judged(task, tmp_path):
    limit = "task.max_episode_steps=20"
    demos, base, fine = (tmp_path / name for name in ("demos", "base", "fine"))
    assert main(["collect", f"task={task}", *ENV, "num_episodes=2", f"out={demos}"]) == 0
    assert main(["train", f"task={task}", *POLICY, "train.steps=20", f"dataset={demos}", f"out={base}"]) == 0
    words = (f"task={task}", *ENV, limit)
    assert main(["finetune", *words, *ALGO, f"checkpoint={base}", f"dataset={demos}", f"out={fine}"]) == 0
    assert main(["eval", *words, f"checkpoint={fine}", "episodes=2"]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["task.name=Pendulum-v1"], "no scripted expert for task 'Pendulum-v1'"),
        (["task.name=Pendulum-v1", "env.cameras=[wrist]"], "'gymnasium' has tasks of its own, without our cameras"),
        (["task.name=Pendulum-v1", "randomization=light"], "has tasks of its own, without randomization"),
        (["task.name=Pendulum-v1", "expert.failure=slip"], "only our own tasks fail on purpose"),
        (["task.name=Pendulum-v1", "expert=varied"], "leave out expert.speed=[0.4, 1.0] expert.pauses=2"),
    ],
)
def test_what_only_our_tasks_have_is_refused(words, sentence, tmp_path, capsys):
    assert main(["collect", *words, *ENV, f"out={tmp_path / 'demos'}"]) != 0
    assert sentence in capsys.readouterr().err.replace("\n", " ")


@needs("gymnasium_robotics")
def test_spoken_stages_are_refused_where_there_are_none(tmp_path, capsys):
    words = ("task=fetch_pick_and_place", "language=true")
    assert main(["collect", *words, *ENV, f"out={tmp_path / 'demos'}"]) != 0
    assert "and 'FetchPickAndPlace-v4' has none" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "demos").exists()


def test_our_own_worlds_are_asked_for_by_our_names():
    config = composed("task.name=Pendulum-v1")
    with pytest.raises(UserError, match="the backend 'gymnasium' has tasks of its own"):
        make_env(config.task, config.robot, config.env)
