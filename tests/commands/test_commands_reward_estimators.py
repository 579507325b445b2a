"""`robolearn train-reward` with the estimators that need successes: what it writes, resumes and refuses."""

import numpy as np
import pytest
import torch

from robolearn.cli import main
from robolearn.commands import train_reward as train_reward_module
from robolearn.commands.reward_data import footage, labels_of, read_schema, shares_of
from robolearn.commands.train_reward import tricks_of
from robolearn.config import AugmentConfig
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.layout import STAGE
from robolearn.language import Tokenizer
from robolearn.rewards.preference.modeling_preference import Preference
from robolearn.rewards.serving import load_estimator
from robolearn.rewards.value.modeling_value import Value

KINDS = ("pairwise", "value", "preference")
TOY = ("reward.hidden_dim=16", "reward.language_dim=8", "augment.num_wrong=20", "validation=0.3", "train.batch_size=16")
BUDGET = ("train.steps=30", "train.warmup=5", "train.save_every=10", "train.device=cpu", "train.tensorboard=false")


@pytest.fixture(scope="module")
def attempts(tmp_path_factory):
    """Four episodes of `reach`; how far the others come in a fifth of the time is no success."""
    folder = tmp_path_factory.mktemp("attempts")
    common = ("task=reach", "num_episodes=4", "env.num_envs=4", "env.threads=1", "success_only=false")
    assert main(["collect", *common, f"out={folder / 'all'}"]) == 0
    assert main(["collect", *common, "task.max_episode_steps=5", "seed=9", f"out={folder / 'short'}"]) == 0
    return folder


def train(dataset, out, *words):
    return main(["train-reward", f"dataset={dataset}", f"out={out}", *TOY, *BUDGET, *words])


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_and_what_it_wrote_tells_progress(kind, attempts, tmp_path):
    assert train(attempts / "all", tmp_path, f"reward={kind}") == 0
    estimator = load_estimator(tmp_path / "model")
    data = EpisodeDataset.load(attempts / "all")
    frames = {key: values for key, values in data.episode(0).items() if key in estimator.schema.observation_keys}
    progress = estimator.progress(frames, data.tasks[0])
    assert progress.shape == (data.ends[0],)
    assert ((progress >= 0) & (progress <= 1)).all()
    estimator.reset()
    first = estimator.update({key: values[0] for key, values in frames.items()}, data.tasks[0])
    assert first.value == pytest.approx(progress[0], abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_killed_writes_the_same_model(kind, attempts, tmp_path, monkeypatch):
    assert train(attempts / "all", tmp_path / "whole", f"reward={kind}") == 0

    class Killed(BaseException):
        pass

    def die(*_arguments):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(train_reward_module, "save_curves", die)  # trained, but neither finished nor kept
        with pytest.raises(Killed):
            train(attempts / "all", tmp_path / "killed", f"reward={kind}")
    assert not (tmp_path / "killed" / "model").exists()
    assert train(attempts / "all", tmp_path / "killed", f"reward={kind}") == 0
    whole, killed = (load_estimator(tmp_path / name / "model").model for name in ("whole", "killed"))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, killed.state_dict()[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_without_any_success_it_says_so_at_once(kind, attempts, tmp_path, capsys):
    assert train(attempts / "short", tmp_path / "none", f"reward={kind}") == 2
    assert "ended in success" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "none").exists()


def test_the_last_frame_of_a_success_stands_for_the_one_that_was_not_recorded(attempts):
    data = EpisodeDataset.load(attempts / "all")
    labels = labels_of(data, shares_of(data))
    succeeded = data.columns["success"]
    assert any(succeeded)
    for one, success, a, b in zip(labels, succeeded, data.starts, data.ends, strict=True):
        stage = data.channels[STAGE][a:b, 0]
        assert (one.stage[:-1] == stage[:-1]).all()
        assert one.stage[-1] == (len(data.stage_names) if success else stage[-1])
        assert (one.progress[-1] == 1.0) == success


def test_models_get_what_else_they_read(attempts):
    data = EpisodeDataset.load(attempts / "all")
    schema, labels = read_schema(data, ["observation.state"]), labels_of(data, shares_of(data))

    def channels(reads):
        return footage(data, schema, labels, tokenizer=Tokenizer(), num_wrong=5, seed=0, reads=reads).channels

    assert set(channels(())) == {"observation.state"}
    action = channels(Value.reads)["action"]
    assert action.shape == (data.num_frames, schema.action.shape[0])
    assert np.abs(action).max() <= 1
    further = channels(Preference.reads)
    assert set(further) == {"observation.state", *Preference.reads}
    for a, b, success in zip(data.starts, data.ends, data.columns["success"], strict=True):
        assert further["frame"][a:b].tolist() == list(range(b - a))
        assert (further["success"][a:b] == success).all()
    assert not further["intervention"].any()
    data.channels["intervention"] = np.repeat(np.float32([[0], [1]]), [data.num_frames - 2, 2], axis=0)
    assert channels(Preference.reads)["intervention"].tolist() == [False] * (data.num_frames - 2) + [True] * 2


def test_films_are_not_tampered_with_where_frames_must_follow_each_other():
    augment = AugmentConfig(rewind=0.2, pause=0.3, warp=0.4, still=0.1, wrong=0.1, num_wrong=5)
    kept, plain = (tricks_of(augment, consecutive=kind.consecutive) for kind in (Preference, Value))
    assert (kept.rewind, kept.pause, kept.warp, kept.wrong) == (0.2, 0.3, 0.4, 0.1)
    assert (plain.rewind, plain.pause, plain.warp, plain.wrong) == (0, 0, 0, 0.1)
