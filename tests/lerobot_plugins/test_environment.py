"""Our tasks in LeRobot's evaluation."""

import json

import lerobot_runs
import numpy as np
import pytest
from lerobot.datasets.lerobot_dataset import LeRobotDatasetMetadata
from lerobot.envs import make_env, make_env_config, make_env_pre_post_processors, preprocess_observation
from lerobot.envs.utils import check_env_attributes_and_types, env_to_policy_features
from lerobot.utils.feature_utils import dataset_to_policy_features

from robolearn.errors import UserError
from robolearn.lerobot_plugins.environment import RobolearnEnv
from robolearn.lerobot_plugins.worlds import LeRobotWorlds
from robolearn.sim.backends.mujoco import MujocoVecEnv

SEEDS = [7, 8]
PLUGIN = "--env.discover_packages_path=robolearn.lerobot_plugins"


def make(**settings):
    config = make_env_config("robolearn", image_size=lerobot_runs.PICTURE, **settings)
    return config, make_env(config, n_envs=len(SEEDS))["robolearn"][0]


def test_the_channels_are_those_of_our_datasets(tmp_path):
    root = lerobot_runs.write_dataset(tmp_path / "data", "external", episodes=1, length=3)
    written = LeRobotDatasetMetadata("local/data", root=root).features
    assert {"observation.stage", "privileged.progress"} < set(written)
    theirs = dataset_to_policy_features(written)
    del theirs["observation.stage"]  # a label; of progress no policy learns
    ours = env_to_policy_features(RobolearnEnv(cameras=["external"], image_size=lerobot_runs.PICTURE))
    assert list(ours) == list(theirs)
    assert ours == {key: type(f)(f.type, tuple(f.shape)) for key, f in theirs.items()}


def test_worlds_start_and_move_as_without_lerobot():
    config, env = make(cameras=["external"])
    assert config.fps == env.unwrapped.metadata["render_fps"] == 20
    plain = MujocoVecEnv("lift", num_envs=2, autoreset=False, cameras=["external"], image_size=lerobot_runs.PICTURE)
    check_env_attributes_and_types(env)
    assert env.call("_max_episode_steps") == (80, 80)
    seen, _ = env.reset(seed=SEEDS, options={"lerobot_new_rollout": True})
    expected, _ = plain.reset(seed=SEEDS)
    assert env.call("task_description") == tuple(plain.instructions)
    assert env.single_observation_space.contains(
        {**{k: v[0] for k, v in seen.items() if k != "pixels"}, "pixels": {"external": seen["pixels"]["external"][0]}}
    )
    for _ in range(3):
        tensors = preprocess_observation(seen)
        for key, values in expected.items():
            given = tensors[key].numpy()
            given = np.rint(255 * given).transpose(0, 2, 3, 1) if "images" in key else given
            np.testing.assert_array_equal(given, values, err_msg=key)
        action = env.action_space.sample()
        seen, expected = env.step(action)[0], plain.step(action)[0]
    assert [picture.shape for picture in env.call("render")] == [(240, 240, 3)] * 2
    with pytest.raises(AttributeError, match="have no 'controller'"):
        env.call("controller")
    env.close()
    plain.close()


class Scripted:
    """Worlds whose episodes end as told."""

    def __init__(self, *steps):
        plain = MujocoVecEnv("lift", num_envs=3)
        self.schema, self.num_envs = plain.schema, 3
        self.observation_boxes, self.single_action_space = plain.observation_boxes, plain.single_action_space
        self.action_space = plain.action_space
        plain.close()
        self.steps = iter(steps)

    def reset(self, *, seed):
        return {}, {}

    def step(self, actions):
        terminated, truncated, success = (np.array(flags, bool) for flags in next(self.steps))
        return {}, np.ones(3), terminated, truncated, {"success": success}


def test_what_an_episode_came_to_stays_until_the_next():
    none, first, second = [0, 0, 0], [1, 0, 0], [0, 1, 0]
    env = LeRobotWorlds(Scripted((first, second, first), (none, none, [0, 1, 1])), render_size=8)
    env.reset(seed=SEEDS)
    _, reward, terminated, truncated, info = env.step(None)
    assert reward.tolist() == [1, 1, 1]
    assert [x.tolist() for x in (terminated, truncated, info["is_success"])] == [
        [True, False, False],
        [False, True, False],
        [True, False, False],
    ]
    # the second fails for good; LeRobot looks one step beyond its end
    _, reward, terminated, truncated, info = env.step(None)
    assert reward.tolist() == [0, 0, 1]
    assert [x.tolist() for x in (terminated, truncated, info["is_success"])] == [
        [True, False, False],
        [False, True, False],
        [True, False, True],
    ]
    assert not env.reset()[1]["is_success"].any()


def test_mistakes_are_named():
    with pytest.raises(UserError, match=r"unknown task 'lif'.*lift"):
        RobolearnEnv(task="lif")
    with pytest.raises(UserError, match=r"unknown camera 'wrst'.*wrist"):
        make(cameras=["wrst"])


@pytest.fixture(scope="module")
def act(tmp_path_factory):
    root = tmp_path_factory.mktemp("lerobot")
    lerobot_runs.write_dataset(root / "data")
    return lerobot_runs.write_checkpoint(root / "act", root / "data", "act")


def test_robolearns_evaluation_acts_as_lerobots(act):
    from lerobot.configs import PreTrainedConfig
    from lerobot.policies import make_policy, make_pre_post_processors
    from lerobot.scripts.lerobot_eval import rollout

    from robolearn.commands.common import evaluate, load_checkpoint, policy_actor

    config, env = make(episode_length=10)
    policy_config = PreTrainedConfig.from_pretrained(act)
    policy_config.pretrained_path = act
    policy = make_policy(policy_config, env_cfg=config)
    around = make_env_pre_post_processors(config, policy_config)
    theirs = rollout(env, policy, *around, *make_pre_post_processors(policy_config, str(act)), seeds=SEEDS)
    env.close()

    plain = MujocoVecEnv("lift", num_envs=2, autoreset=False, max_episode_steps=10)
    served, _ = load_checkpoint(act)  # the dataset that it was trained on tells the channels
    episodes = evaluate(plain, policy_actor(plain, served), first_seed=SEEDS[0], episodes=2, record=True)
    plain.close()
    low, high = served.schema.action.low, served.schema.action.high
    for k, episode in enumerate(episodes):
        np.testing.assert_allclose(
            episode.frames["action"], theirs["action"][k].numpy().clip(low, high), rtol=0, atol=1e-5
        )
        assert episode.success == bool(theirs["success"][k].any())


def lerobot_eval(monkeypatch, policy, out, *words):
    from lerobot.scripts import lerobot_eval as command

    small = ["--env.episode_length=5", "--env.render_size=32", "--eval.n_episodes=2", "--eval.batch_size=2"]
    words = [PLUGIN, "--env.type=robolearn", "--env.task=lift", *small, *words]
    monkeypatch.setattr("sys.argv", ["lerobot-eval", *words, f"--policy.path={policy}", f"--output_dir={out}"])
    command.main()
    return json.loads((out / "eval_info.json").read_text())["overall"]


def test_lerobot_eval_finds_the_environment_by_name(act, tmp_path, monkeypatch):
    assert lerobot_eval(monkeypatch, act, tmp_path)["n_episodes"] == 2
    assert len(list((tmp_path / "videos" / "robolearn_0").glob("*.mp4"))) == 2


def test_lerobot_eval_runs_what_robolearn_trained_and_records_it(tmp_path, monkeypatch):
    policy = lerobot_runs.write_own_policy(tmp_path / "policy")
    words = ("--eval.recording=true", "--env.cameras=[external]", f"--env.image_size={lerobot_runs.PICTURE}")
    assert lerobot_eval(monkeypatch, policy, tmp_path / "eval", *words)["n_episodes"] == 2
    recorded = LeRobotDatasetMetadata("local/r", root=tmp_path / "eval" / "recordings" / "robolearn_0" / "env_1")
    assert recorded.total_frames == 5
    assert {"agent_pos", "environment_state", "observation.images.external"} < set(recorded.features)
