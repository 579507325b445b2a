"""LeRobot's trainer on our data, with our policies and its own, evaluated in our worlds; then robolearn goes on."""

import json
from importlib.util import find_spec
from pathlib import Path

import lerobot_runs
import numpy as np
import pytest

from robolearn.cli import main
from robolearn.commands.common import load_checkpoint
from robolearn.data.dataset import EpisodeDataset

UNET = ("--policy.down_dims=[16,32]", "--policy.n_groups=4", "--policy.diffusion_step_embed_dim=16")
CHUNK = ("--policy.horizon=8", "--policy.n_action_steps=4")
POLICIES = {
    "robolearn_flow": (*CHUNK, "--policy.backbone=dit", "--policy.hidden_dim=32", "--policy.num_blocks=1"),
    "robolearn_diffusion": (*CHUNK, *UNET, "--policy.num_inference_steps=3"),
    "diffusion": (*CHUNK, *UNET, "--policy.noise_scheduler_type=DDIM", "--policy.num_inference_steps=3"),
    "act": ("--policy.chunk_size=8", "--policy.n_action_steps=4", "--policy.dim_model=32", "--policy.n_heads=2"),
}
PLUGIN = "--env.discover_packages_path=robolearn.lerobot_plugins"
WORLDS = (PLUGIN, "--env.type=robolearn", "--env.episode_length=4", "--env.render_size=32")


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    return lerobot_runs.write_dataset(tmp_path_factory.mktemp("demos") / "demos")


def lerobot(monkeypatch, script, *words):
    monkeypatch.setattr("sys.argv", [f"lerobot-{script.__name__}", *words])
    script.main()


def train(monkeypatch, out, demos, kind):
    from lerobot.scripts import lerobot_train

    lerobot(
        monkeypatch,
        lerobot_train,
        *WORLDS,
        f"--policy.type={kind}",
        *POLICIES[kind],
        "--policy.device=cpu",
        "--policy.push_to_hub=false",
        "--dataset.repo_id=local/demos",
        f"--dataset.root={demos}",
        "--dataset.video_backend=pyav",
        "--num_workers=0",
        "--batch_size=8",
        "--steps=6",
        "--log_freq=3",
        "--env_eval_freq=6",
        "--eval.n_episodes=2",
        "--eval.batch_size=2",
        f"--output_dir={out}",
    )


@pytest.mark.slow
@pytest.mark.skipif(find_spec("accelerate") is None, reason="lerobot-train needs accelerate, of the extra `training`")
@pytest.mark.parametrize("kind", POLICIES)
def test_a_policy_of_lerobot_train_is_at_home_in_both(kind, demos, tmp_path, monkeypatch, capsys):
    from lerobot.scripts import lerobot_eval

    out = tmp_path / "run"
    train(monkeypatch, out, demos, kind)
    lerobot(
        monkeypatch,
        lerobot_eval,
        *WORLDS,
        f"--policy.path={out}/checkpoints/last/pretrained_model",
        "--eval.n_episodes=2",
        "--eval.batch_size=1",
        f"--output_dir={tmp_path / 'eval'}",
    )
    assert json.loads((tmp_path / "eval" / "eval_info.json").read_text())["overall"]["n_episodes"] == 2
    small = ("env.num_envs=2", "env.threads=1", "task.max_episode_steps=6")
    assert main(["eval", f"checkpoint={out}", "episodes=2", *small]) == 0
    assert "0/2" in capsys.readouterr().out


def test_what_the_checkpoint_was_trained_on_names_its_channels(demos, tmp_path):
    folder = lerobot_runs.write_checkpoint(tmp_path / "act", demos, "act")
    assert load_checkpoint(Path(folder))[0].schema == EpisodeDataset.load(demos).schema.select(
        ["observation.state", "observation.environment_state", "action"]
    )
    assert np.isfinite(load_checkpoint(tmp_path / "act")[0].schema.action.low).all()
