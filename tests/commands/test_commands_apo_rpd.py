"""Preference from interventions and distillation into a teacher, through the command line at toy sizes."""

import numpy as np
import pytest

from robolearn.cli import main
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.writer import DatasetWriter
from robolearn.schema import Feature, Schema

pytestmark = pytest.mark.slow

ENV = ("env.num_envs=2", "env.threads=1")
SHORT = (*ENV, "task.max_episode_steps=20")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Episodes in which a person took over half-way, and a policy."""
    out = tmp_path_factory.mktemp("apo")
    assert main(["collect", *ENV, "num_episodes=2", f"out={out / 'demos'}"]) == 0
    data = EpisodeDataset.load(out / "demos")
    channels = {key: f for key, f in data.schema.features.items() if key != "observation.stage"}
    person = Feature("float32", (1,), ("person",), ("1",), "annotation")
    schema = Schema({**channels, "intervention": person}, data.schema.fps)
    writer = DatasetWriter(out / "watched", schema, robot_type="panda")
    for k in range(data.num_episodes):
        frames = {key: values for key, values in data.episode(k).items() if key in channels}
        steps = len(frames["action"])
        frames["intervention"] = (np.arange(steps) > steps // 2).astype(np.float32)[:, None]
        writer.add_episode(frames, task=data.tasks[k], success=True)
    writer.finalize()
    sizes = ("policy.hidden_dim=16", "policy.num_blocks=1", "policy.condition_dim=16")
    training = ("train.steps=20", "train.save_every=20", "train.batch_size=32")
    assert main(["train", f"dataset={out / 'demos'}", *sizes, *training, f"out={out / 'base'}"]) == 0
    return out


def apo(folder, out, dataset):
    words = ("algo.updates=6", "algo.eval_every=3", "algo.eval_episodes=2", "algo.batch_size=16")
    given = (f"checkpoint={folder / 'base'}", f"dataset={folder / dataset}", f"out={out}")
    return main(["finetune", "algo=apo", *given, *words, *SHORT])


def test_a_policy_that_learned_from_interventions_is_an_ordinary_one(folder, tmp_path, capsys):
    assert apo(folder, tmp_path, "watched") == 0
    assert "after 6 updates without control steps" in capsys.readouterr().out.replace("\n", " ")
    before = (folder / "base" / "policy" / "model.safetensors").read_bytes()
    assert (tmp_path / "policy" / "model.safetensors").read_bytes() != before
    assert main(["eval", f"checkpoint={tmp_path}", "episodes=2", *SHORT]) == 0


def test_plain_demonstrations_are_refused(folder, tmp_path, capsys):
    assert apo(folder, tmp_path, "demos") == 2
    assert "needs a channel 'intervention'" in capsys.readouterr().err.replace("\n", " ")


def test_a_policy_teaches_a_student_that_demonstrates(folder, tmp_path):
    words = ("ppo.num_envs=2", "ppo.rollout_steps=4", "ppo.total_steps=160", "ppo.eval_every=80", "ppo.eval_episodes=2")
    given = (f"ppo.imitate={folder / 'base'}", "privilege=none", f"out={tmp_path / 'student'}")
    assert main(["teach", *given, *words, *SHORT]) == 0
    demos = ("expert=teacher", f"expert.checkpoint={tmp_path / 'student'}", "success_only=false", "num_episodes=1")
    assert main(["collect", *demos, *SHORT, f"out={tmp_path / 'data'}"]) == 0
    assert EpisodeDataset.load(tmp_path / "data").num_episodes == 1
