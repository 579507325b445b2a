"""The verbs from a dataset to a bundle, at toy sizes, through the command line."""

import json

import numpy as np
import pytest
from safetensors import safe_open
from toy_options import ALGO, ENV, POLICY

from robolearn.cli import main
from robolearn.commands import eval as eval_module
from robolearn.commands.common import load_checkpoint
from robolearn.real.bundle import load_bundle

SHORT = (*ENV, "task.max_episode_steps=20")


def train(demos, out, *words):
    training = ("train.steps=20", "train.save_every=10", "train.batch_size=32")
    return main(["train", f"dataset={demos}", *POLICY, *training, f"out={out}", *words])


def finetune(base, demos, out, *words):
    return main(["finetune", f"checkpoint={base}", f"dataset={demos}", *SHORT, *ALGO, f"out={out}", *words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Demonstrations, a base policy, a fine-tuned policy and its bundle."""
    out = tmp_path_factory.mktemp("chain")
    assert main(["collect", "num_episodes=2", *ENV, "expert.noise=0", f"out={out / 'demos'}"]) == 0
    assert train(out / "demos", out / "base") == 0
    assert finetune(out / "base", out / "demos", out / "fine") == 0
    assert main(["export", f"checkpoint={out / 'fine'}", f"out={out / 'bundle'}"]) == 0
    return out


def frame(policy, n=3):
    rng = np.random.default_rng(0)
    return {k: rng.normal(size=(n, *policy.schema[k].shape)).astype(np.float32) for k in policy.schema.observation_keys}


def test_training_leaves_a_policy_that_loads(folder):
    policy, correction = load_checkpoint(folder / "base")
    assert correction is None
    observation = {key: value[:, None] for key, value in frame(policy).items()}
    values = policy.predict_chunk(observation).values
    assert values.shape == (3, policy.horizon, *policy.schema.action.shape)
    action = policy.schema.action
    assert ((values >= np.float32(action.low)) & (values <= np.float32(action.high))).all()


def test_a_finished_training_is_not_repeated(folder, capsys):
    before = (folder / "base" / "policy" / "model.safetensors").read_bytes()
    assert train(folder / "demos", folder / "base") == 0
    assert (folder / "base" / "policy" / "model.safetensors").read_bytes() == before
    assert "after 20 steps" in capsys.readouterr().out.replace("\n", " ")


def test_the_same_seed_trains_the_same_policy(folder, tmp_path):
    assert train(folder / "demos", tmp_path / "again") == 0
    first, second = (path / "policy" / "model.safetensors" for path in (folder / "base", tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()


def test_fine_tuning_leaves_base_and_residual(folder):
    policy, correction = load_checkpoint(folder / "fine")
    base, none = load_checkpoint(folder / "base")
    assert none is None
    seen = frame(policy)
    noise = np.zeros((3, *policy.noise_shape), np.float32)
    chunks = [p.predict_chunk({k: v[:, None] for k, v in seen.items()}, noise).values for p in (policy, base)]
    np.testing.assert_array_equal(*chunks)
    corrected = correction(seen, chunks[0][:, 0])
    assert corrected.shape == chunks[0][:, 0].shape
    assert np.abs(corrected - chunks[0][:, 0]).max() > 0  # the actor has learned something, good or bad
    with safe_open(folder / "fine" / "checkpoint.safetensors", "np") as file:
        counters = json.loads(file.metadata()["counters"])
    assert [point["steps"] for point in counters["curve"]] == [0, 32, 64]


def test_a_finished_fine_tuning_is_not_repeated(folder):
    before = (folder / "fine" / "policy" / "residual.safetensors").read_bytes()
    assert finetune(folder / "base", folder / "demos", folder / "fine") == 0
    assert (folder / "fine" / "policy" / "residual.safetensors").read_bytes() == before


def test_a_fine_tuned_policy_is_no_base(folder, tmp_path, capsys):
    assert finetune(folder / "fine", folder / "demos", tmp_path) == 2
    assert "is fine-tuned already: give its base policy" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["base", "fine", "fine/policy"])
def test_a_checkpoint_is_what_training_wrote_or_the_policy_in_it(folder, capsys, name):
    assert main(["eval", f"checkpoint={folder / name}", "episodes=2", *SHORT]) == 0
    assert "/2" in capsys.readouterr().out


def test_evaluation_writes_episodes_pictures_and_videos(folder, tmp_path, capsys):
    words = ("episodes=3", "seed=50", *SHORT, f"out={tmp_path}", "video=true")
    assert main(["eval", f"checkpoint={folder / 'fine'}", *words]) == 0
    result = json.loads((tmp_path / "episodes.json").read_text())
    assert [episode["seed"] for episode in result["episodes"]] == [50, 51, 52]
    assert all(episode["length"] == 20 or episode["success"] for episode in result["episodes"])
    pictures, videos = (sorted(tmp_path.glob(f"*.{kind}")) for kind in ("png", "mp4"))
    assert pictures
    assert [video.stem for video in videos] == [picture.stem for picture in pictures]
    assert "/3" in capsys.readouterr().out


def test_a_video_needs_a_folder(folder, capsys):
    assert main(["eval", f"checkpoint={folder / 'fine'}", "video=true"]) == 2
    assert "give out=FOLDER" in capsys.readouterr().err


def test_evaluation_does_not_depend_on_num_envs(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(eval_module, "save_strips", lambda *_, **__: [])
    for num_envs in (1, 3):
        words = (
            "env.threads=1",
            f"env.num_envs={num_envs}",
            "task.max_episode_steps=15",
            f"out={tmp_path / str(num_envs)}",
        )
        assert main(["eval", f"checkpoint={folder / 'fine'}", "episodes=3", *words]) == 0
    one, three = (json.loads((tmp_path / n / "episodes.json").read_text())["episodes"] for n in ("1", "3"))
    assert one == three


def test_the_bundle_acts_like_the_checkpoint(folder):
    bundle = load_bundle(folder / "bundle")
    policy, correction = load_checkpoint(folder / "fine")
    bundle.schema.require_same(policy.schema)
    seen, noise = frame(policy), np.random.default_rng(1).normal(size=(3, *policy.noise_shape)).astype(np.float32)
    stacked = {key: value[:, None] for key, value in seen.items()}
    mine, theirs = (p.predict_chunk(stacked, noise).values for p in (bundle.policy, policy))
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(bundle.correction(seen, theirs[:, 0]), correction(seen, theirs[:, 0]), rtol=0, atol=1e-5)
    assert bundle.manifest["task"]["name"] == "lift"
    assert f"checkpoint: {folder / 'fine'}" in (folder / "bundle" / "config.yaml").read_text()


def test_a_policy_for_other_channels_is_refused_by_name(folder, tmp_path, capsys):
    words = ("task.action_space=joint_delta", f"out={tmp_path}")
    for verb in ("export", "eval"):
        assert main([verb, f"checkpoint={folder / 'base'}", *words]) == 2
        assert "channel 'action'" in capsys.readouterr().err
