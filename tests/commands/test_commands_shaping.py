"""Shaping in `robolearn finetune`: what is refused, where potentials come from, and whole runs at toy sizes."""

import json
import pickle
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from toy_options import ENV, POLICY, SIZES

from robolearn.cli import main
from robolearn.commands.common import load_base
from robolearn.commands.demonstrations import load_demonstrations
from robolearn.commands.shaping import Potential, potential_of
from robolearn.commands.worlds import make_env
from robolearn.compose import build, compose
from robolearn.data import layout
from robolearn.data.journal import read_journal
from robolearn.errors import UserError
from robolearn.launch.job import Folder
from robolearn.launch.launcher import HERE
from robolearn.rewards.shaping import Shaping
from robolearn.rl.potential import POTENTIAL
from robolearn.schema import SchemaError

STEPS = ("algo.num_envs=2", "algo.total_steps=48", "algo.eval_every=48", "algo.warmup_steps=16", "algo.stop_at=null")
ONLINE = (*ENV, "task.max_episode_steps=12", *STEPS, "algo.critic_warmup_updates=4", *SIZES)
SHAPED = "shaping.potential=simulator"


def config_of(*words):
    return build("finetune", compose("finetune", ["checkpoint=c", "dataset=d", *words]))


def chosen(*words):
    config = config_of(*words)
    return potential_of(config.shaping, task=config.task, env=config.env, algo=config.algo, launcher=HERE)


def save_estimator_for(schema, folder):
    """A stage-aware reward model of random weights."""
    from robolearn.rewards import serving
    from robolearn.rewards.sarm.modeling_sarm import build as build_sarm

    torch.manual_seed(0)
    model = build_sarm(
        schema, stage_names=["reach", "lift"], shares=[0.5, 0.5], hidden_dim=16, language_dim=8, num_heads=2
    )
    statistics = {key: {"mean": np.zeros(schema[key].shape), "std": np.ones(schema[key].shape)} for key in schema}
    serving.save_estimator(folder, serving.TorchEstimator(model, schema, statistics))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Demonstrations, a base policy, a progress estimator; and the demonstrations without progress."""
    out = tmp_path_factory.mktemp("shaping")
    assert main(["collect", "num_episodes=2", *ENV, "expert.noise=0", f"out={out / 'demos'}"]) == 0
    training = ("train.steps=10", "train.save_every=10", "train.batch_size=32", "train.tensorboard=false")
    assert main(["train", f"dataset={out / 'demos'}", *POLICY, *training, f"out={out / 'base'}"]) == 0
    policy = load_base(out / "base")
    save_estimator_for(policy.schema, out / "estimator")
    shutil.copytree(out / "demos", out / "older")
    own = json.loads((out / "older" / layout.OWN_SCHEMA).read_text())
    del own["features"][layout.PROGRESS]
    (out / "older" / layout.OWN_SCHEMA).write_text(json.dumps(own))
    for file in (out / "older" / "data").rglob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns([layout.PROGRESS]), file)
    return out


def demos_of(folder, name="demos"):
    return load_demonstrations(folder / name, load_base(folder / "base").schema)


def finetune(folder, out, *words, dataset="demos"):
    given = (f"checkpoint={folder / 'base'}", f"dataset={folder / dataset}", f"out={out}")
    return main(["finetune", *given, *ONLINE, *words])


# ---------------------------------------------------------------- what is asked for


def test_nothing_is_added_by_default():
    assert chosen() is None
    assert chosen("shaping.kind=raw", "shaping.scale=2") is None


def test_the_options_make_what_is_added():
    potential = chosen(SHAPED, "shaping.kind=gain", "shaping.scale=0.5")
    assert potential == Potential(Shaping("gain", 0.5), None)


def test_a_folder_is_that_of_an_estimator(tmp_path):
    assert chosen(f"shaping.potential={tmp_path}") == Potential(Shaping(), Folder(tmp_path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shaping.potential=simulater"], "is no folder of a progress estimator; did you mean 'simulator'"),
        ([SHAPED, "shaping.kind=potentail"], "unknown shaping.kind 'potentail'; did you mean 'potential'"),
        (
            [SHAPED, "env.backend=ros2"],
            "env.backend=ros2 knows success, but no progress: give shaping",
        ),
        ([SHAPED, "task=fetch_pick_and_place"], "env.backend=gymnasium knows success, but no progress"),
        ([SHAPED, "algo=value_guided"], "shaping is for algorithms that explore"),
        ([SHAPED, "algo=apo"], "shaping is for algorithms that explore"),
    ],
)
def test_what_cannot_be_is_refused(words, message):
    with pytest.raises(UserError, match=message):
        chosen(*words)


def test_an_arm_may_have_an_estimator(tmp_path):
    assert chosen(f"shaping.potential={tmp_path}", "env.backend=ros2") is not None


# ---------------------------------------------------------------- where it comes from


def test_demonstrations_tell_the_progress_that_was_recorded_with_them(folder):
    data = demos_of(folder)
    episodes = list(Potential(Shaping(), None).told(data))
    assert len(episodes) == data.num_episodes
    for k, episode in enumerate(episodes):
        known = data.episode(k)
        np.testing.assert_array_equal(episode[POTENTIAL], known[layout.PROGRESS][:, 0])
        np.testing.assert_array_equal(episode["observation.state"], known["observation.state"])
        assert episode[POTENTIAL].max() > 0.5


def test_demonstrations_without_it_are_refused(folder, tmp_path, capsys):
    with pytest.raises(UserError, match=r"do not tell the simulator's progress, .+: collect them again"):
        next(Potential(Shaping(), None).told(demos_of(folder, "older")))
    assert finetune(folder, tmp_path, SHAPED, dataset="older") == 2
    assert "do not tell the simulator's progress" in capsys.readouterr().err


def test_an_estimator_is_asked_for_every_frame_of_a_demonstration(folder):
    from robolearn.rewards.serving import load_estimator

    potential, data = Potential(Shaping(), Folder(folder / "estimator")), demos_of(folder, "older")
    for k, episode in enumerate(potential.told(data)):
        expected = load_estimator(folder / "estimator").progress(data.episode(k), data.tasks[k])
        np.testing.assert_allclose(episode[POTENTIAL], expected, atol=1e-5)


def test_each_world_has_an_estimator_of_its_own(folder):
    from robolearn.rewards.serving import load_estimator

    config = config_of("env.threads=1")
    # sent to an actor on another machine
    potential = pickle.loads(pickle.dumps(Potential(Shaping(), Folder.read(folder / "estimator"))))
    env = potential.on(make_env(config.task, config.robot, config.env))
    observation, info = env.reset(seed=0)
    seen, told = [observation], [info[POTENTIAL]]
    rng, action = np.random.default_rng(0), env.schema.action
    for _ in range(4):
        observation, _, _, _, info = env.step(rng.uniform(action.low, action.high, (env.num_envs, *action.shape)))
        seen.append(observation)
        told.append(info[POTENTIAL])
    for i in range(env.num_envs):
        film = {key: np.stack([frame[key][i] for frame in seen]) for key in observation}
        expected = load_estimator(folder / "estimator").progress(film, env.instructions[i])
        np.testing.assert_allclose([one[i] for one in told], expected, atol=1e-5)
    env.close()


def test_an_estimator_of_other_channels_is_refused_before_anything_begins(folder, tmp_path):
    config = config_of("task=stack", "env.threads=1")
    env = make_env(config.task, config.robot, config.env)
    potential = Potential(Shaping(), Folder(folder / "estimator"))
    with pytest.raises(SchemaError, match=r"channel 'observation\.environment_state': shape is"):
        potential.require_fit(env.schema)
    env.close()
    with pytest.raises(UserError, match="holds no reward model"):
        Potential(Shaping(), Folder(tmp_path)).require_fit(env.schema)


# ---------------------------------------------------------------- whole runs


def test_a_run_is_shaped_and_its_episodes_are_written_as_they_were(folder, tmp_path, capsys):
    assert finetune(folder, tmp_path, SHAPED, "shaping.scale=0.5") == 0
    written = [one for one, _ in read_journal(tmp_path / "episodes")]
    assert written
    for one in written:
        assert one.reward.tolist() == [0.0] * (len(one.reward) - 1) + [float(one.success)]
        assert one.frames[POTENTIAL].shape == (len(one.reward) + 1,)
        assert 0 < one.frames[POTENTIAL].max() <= 1
    base = (folder / "base" / "policy" / "model.safetensors").read_bytes()
    assert (tmp_path / "policy" / "model.safetensors").read_bytes() == base
    assert main(["eval", f"checkpoint={tmp_path}", "episodes=2", *ENV, "task.max_episode_steps=12"]) == 0
    capsys.readouterr()
    assert finetune(folder, tmp_path) == 2
    assert "was begun with shaping=" in capsys.readouterr().err.replace("\n", " ")
    assert finetune(folder, tmp_path, SHAPED, "shaping.scale=0.5", "algo.total_steps=72") == 0


def test_a_run_that_was_begun_before_there_was_shaping_goes_on(folder, tmp_path, capsys):
    assert finetune(folder, tmp_path) == 0
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings.pop("shaping") is None
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    assert finetune(folder, tmp_path) == 0
    assert finetune(folder, tmp_path, SHAPED) == 2
    assert "was begun with shaping=None" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.slow
def test_an_estimator_shapes_a_run_with_actors(folder, tmp_path):
    words = (f"shaping.potential={folder / 'estimator'}", "actors=1")
    assert finetune(folder, tmp_path, *words, dataset="older") == 0
    written = [one for one, _ in read_journal(tmp_path / "episodes")]
    assert written
    assert all(len(set(one.frames[POTENTIAL].tolist())) > 1 for one in written)


@pytest.mark.parametrize("potential", ["simulator", "estimator"])
def test_an_on_policy_run_is_shaped(folder, tmp_path, potential):
    name = potential if potential == "simulator" else folder / potential
    words = ("algo=ppo_residual", *ENV, "task.max_episode_steps=12", f"shaping.potential={name}", "algo.hidden=16")
    sizes = ("algo.num_envs=2", "algo.total_steps=48", "algo.eval_every=48", "algo.eval_episodes=2")
    rollouts = ("algo.rollout_steps=12", "algo.batch_size=8", "algo.epochs=1", "algo.stop_at=null")
    given = (f"checkpoint={folder / 'base'}", f"out={tmp_path}")
    assert main(["finetune", *words, *sizes, *rollouts, *given]) == 0
