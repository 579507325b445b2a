"""`robolearn train-reward`: from a dataset with stages to a model that can be loaded; resumes, refuses early."""

import json

import numpy as np
import pytest
from lerobot_runs import lift_schema, random_frames

from robolearn.cli import main
from robolearn.commands.reward_data import labels_of, shares_of
from robolearn.commands.train_reward import run
from robolearn.compose import build, compose
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.writer import DatasetWriter
from robolearn.rewards.serving import load_estimator
from robolearn.train import trainer

SMALL = ["train.steps=12", "train.save_every=6", "reward.hidden_dim=16", "train.tensorboard=false", "validation=0.3"]


@pytest.fixture(scope="module")
def attempts(tmp_path_factory):
    out = tmp_path_factory.mktemp("reward") / "attempts"
    words = ["collect", "task=lift", "num_episodes=6", "linger=3", "success_only=false", "env.num_envs=3"]
    assert main([*words, f"out={out}"]) == 0
    return out


def train(attempts, out, *words):
    return main(["train-reward", f"dataset={attempts}", f"out={out}", *SMALL, *words])


@pytest.mark.parametrize("kind", ["sarm", "recurrent"])
def test_a_model_is_trained_kept_and_loaded(kind, attempts, tmp_path, capsys):
    assert train(attempts, tmp_path / "r", f"reward={kind}") == 0
    assert "stage_accuracy" in capsys.readouterr().out
    estimator = load_estimator(tmp_path / "r" / "model")
    data = EpisodeDataset.load(attempts)
    assert estimator.stage_names == data.stage_names
    progress = estimator.progress(data.episode(0), data.tasks[0])
    assert progress.shape == (data.ends[0],)
    assert ((progress >= 0) & (progress <= 1)).all()
    figures = json.loads((tmp_path / "r" / "validation.json").read_text())
    assert 0 <= figures["stage_accuracy"] <= 1
    for picture in ("curve.png", "validation.png"):
        assert (tmp_path / "r" / picture).read_bytes().startswith(b"\x89PNG")


def test_labels_follow_the_simulators_progress(attempts):
    data = EpisodeDataset.load(attempts)
    shares = shares_of(data)
    labels = labels_of(data, shares)
    known = data.channels["privileged.progress"][:, 0]
    stage = np.concatenate([one.stage for one in labels])
    tau = np.concatenate([one.tau for one in labels])
    np.testing.assert_allclose((stage + tau) / len(shares), known, atol=1e-5)
    assert (stage == len(shares)).any()  # the frames for which a success lingers


def test_a_killed_training_goes_on_where_it_was(attempts, tmp_path, monkeypatch, capsys):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(attempts, whole) == 0

    class KilledError(Exception):
        pass

    def save_and_die(*args, **kwargs):
        save(*args, **kwargs)
        raise KilledError

    save = trainer.save_checkpoint
    monkeypatch.setattr(trainer, "save_checkpoint", save_and_die)
    with pytest.raises(KilledError):
        run(build("train-reward", compose("train-reward", [f"dataset={attempts}", f"out={parts}", *SMALL])))
    monkeypatch.undo()
    assert not (parts / "model").exists()
    assert train(attempts, parts) == 0
    assert (parts / "model" / "model.safetensors").read_bytes() == (whole / "model" / "model.safetensors").read_bytes()
    assert train(attempts, parts, "reward.window=4") == 2
    assert "window" in capsys.readouterr().err


def test_only_the_channels_that_are_wanted_are_read(attempts, tmp_path, capsys):
    assert train(attempts, tmp_path / "r", "observations=[observation.state]") == 0
    assert list(load_estimator(tmp_path / "r" / "model").schema) == ["observation.state", "action"]
    assert train(attempts, tmp_path / "s", "observations=[observation.stat]") == 2
    assert "observation.stat" in capsys.readouterr().err


def test_a_dataset_without_stages_is_refused(tmp_path, capsys):
    schema = lift_schema()
    writer = DatasetWriter(tmp_path / "plain", schema, robot_type="panda", video=False)
    for seed in range(3):
        writer.add_episode(random_frames(schema, 10, np.random.default_rng(seed)), task="lift it")
    writer.finalize()
    assert train(tmp_path / "plain", tmp_path / "r") == 2
    assert "annotate" in capsys.readouterr().err
