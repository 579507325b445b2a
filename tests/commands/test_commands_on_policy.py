"""On-policy fine-tuning through the command line, and what comes of it: policies that are judged and demonstrate."""

import numpy as np
import pytest

from robolearn.cli import main
from robolearn.commands.common import load_base, load_checkpoint
from robolearn.data.dataset import EpisodeDataset

ENV = ("env.num_envs=2", "env.threads=1")
SHORT = (*ENV, "task.max_episode_steps=20")
ALGO = (
    "algo.num_envs=2",
    "algo.total_steps=80",
    "algo.rollout_steps=20",
    "algo.eval_every=40",
    "algo.eval_episodes=2",
    "algo.batch_size=4",
    "algo.epochs=1",
    "algo.hidden=16",
    "algo.stop_at=null",
)


def finetune(base, algo, out, *words):
    return main(["finetune", f"algo={algo}", f"checkpoint={base}", *SHORT, *ALGO, f"out={out}", *words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Demonstrations, and a base policy of each kind."""
    out = tmp_path_factory.mktemp("on_policy")
    assert main(["collect", "num_episodes=2", *ENV, "expert.noise=0", f"out={out / 'demos'}"]) == 0
    small = ("policy.hidden_dim=16", "policy.num_blocks=1", "policy.condition_dim=16", "policy.backbone=mlp")
    training = ("train.steps=20", "train.save_every=10", "train.batch_size=32", f"dataset={out / 'demos'}")
    for kind in ("flow", "diffusion"):
        assert main(["train", f"policy={kind}", *small, *training, f"out={out / kind}"]) == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algo", "base"), [("reinflow", "flow"), ("dppo", "diffusion"), ("awm", "flow"), ("ppo_residual", "flow")]
)
def test_an_algorithm_needs_no_dataset_and_its_result_is_judged_like_any_policy(folder, tmp_path, algo, base):
    assert finetune(folder / base, algo, tmp_path / "fine") == 0
    assert main(["eval", f"checkpoint={tmp_path / 'fine'}", *SHORT, "episodes=2"]) == 0
    policy, correction = load_checkpoint(tmp_path / "fine")
    assert (correction is not None) == (algo == "ppo_residual")
    assert policy.policy.config.num_inference_steps == (4 if algo == "reinflow" else 10)


@pytest.mark.slow
def test_a_run_goes_on_and_its_settings_are_kept(folder, tmp_path, capsys):
    assert finetune(folder / "flow", "awm", tmp_path) == 0
    assert finetune(folder / "flow", "awm", tmp_path, "algo.total_steps=120") == 0
    assert "within 120 control steps" in capsys.readouterr().out.replace("\n", " ")
    assert finetune(folder / "flow", "awm", tmp_path, "algo.clip=0.3") == 2
    assert "was begun with algo=" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.slow
def test_a_residual_of_ppo_is_exported(folder, tmp_path):
    assert finetune(folder / "flow", "ppo_residual", tmp_path / "fine") == 0
    assert main(["export", f"checkpoint={tmp_path / 'fine'}", f"out={tmp_path / 'bundle'}"]) == 0
    assert (tmp_path / "bundle" / "correction.onnx").exists()


def test_off_policy_algorithms_ask_for_demonstrations(folder, tmp_path, capsys):
    words = [*SHORT, "algo.eval_episodes=2", f"out={tmp_path}"]
    assert main(["finetune", "algo=residual", f"checkpoint={folder / 'flow'}", *words]) == 2
    assert "give dataset=FOLDER" in capsys.readouterr().err.replace("\n", " ")


def test_a_base_of_another_kind_is_refused(folder, tmp_path, capsys):
    assert finetune(folder / "flow", "dppo", tmp_path) == 2
    assert "algo=dppo tunes a diffusion policy" in capsys.readouterr().err.replace("\n", " ")


def collect(folder, out, *words):
    return main(["collect", "expert=dppo", *SHORT, "num_episodes=3", "success_only=false", f"out={out}", *words])


def test_a_policy_demonstrates_what_it_does_when_it_is_judged(folder, tmp_path):
    assert collect(folder, tmp_path / "demos", f"expert.checkpoint={folder / 'diffusion'}", "seed=7") == 0
    data = EpisodeDataset.load(tmp_path / "demos")
    assert data.num_episodes == 3
    policy = load_base(folder / "diffusion")
    noise = np.random.default_rng(7).standard_normal(policy.noise_shape, np.float32)
    first = data.episode(0)
    seen = {key: first[key][:1, None] for key in policy.schema.observation_keys}
    chunk = policy.predict_chunk(seen, noise[None]).values[0]
    np.testing.assert_allclose(first["action"][: policy.n_action_steps], chunk[: policy.n_action_steps], atol=1e-5)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "needs expert.checkpoint=FOLDER"),
        (("expert.checkpoint=nowhere",), "no checkpoint folder 'nowhere'"),
        (("expert.checkpoint={}/flow", "expert.noise=0.1"), "expert.noise is for scripts and teachers"),
    ],
)
def test_an_expert_that_cannot_be_is_refused(folder, tmp_path, capsys, words, told):
    assert collect(folder, tmp_path, *(word.format(folder) for word in words)) == 2
    assert told in capsys.readouterr().err.replace("\n", " ")
