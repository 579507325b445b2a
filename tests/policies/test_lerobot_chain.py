"""LeRobot's checkpoints in the verbs: fine-tuned by residual RL, evaluated, exported, and run without torch."""

import shutil

import lerobot_runs
import numpy as np
import pytest
import torch
from toy_options import LEROBOT_ALGO as ALGO
from toy_options import LEROBOT_SHORT as SHORT

from robolearn.acting import ChunkActor
from robolearn.cli import main
from robolearn.commands.common import load_checkpoint
from robolearn.errors import UserError
from robolearn.policies.lerobot_adapter.graphs import action_units
from robolearn.real.bundle import load_bundle


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lerobot")
    lerobot_runs.write_dataset(folder / "demos", episodes=1, length=12)
    lerobot_runs.write_dataset(folder / "pictures", "external", episodes=1, length=12)
    return folder


def actions(policy, frames, correction=None):
    actor = ChunkActor(policy, 2, correction)
    actor.reset([5, 6])
    return np.stack([actor.act(frame) for frame in frames])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("act", "demos"),
        ("ddim", "demos"),
        ("ddpm", "demos"),
        ("flow", "demos"),
        ("act", "pictures"),
        ("ddim", "pictures"),
    ],
)
def test_a_checkpoint_is_exported_with_its_processors(root, kind, data, tmp_path):
    checkpoint = lerobot_runs.write_checkpoint(tmp_path / "run", root / data, kind)
    assert main(["export", f"checkpoint={checkpoint}", f"out={tmp_path / 'bundle'}"]) == 0
    policy, bundle = load_checkpoint(checkpoint)[0], load_bundle(tmp_path / "bundle")
    assert (bundle.path / "policy.onnx").exists() == (kind == "act")
    rng = np.random.default_rng(0)
    frames = [lerobot_runs.random_frames(policy.schema, 2, rng) for _ in range(9)]
    half = (np.array(policy.schema.action.high) - policy.schema.action.low) / 2
    difference = np.abs(actions(policy, frames) - actions(bundle.policy, frames)) / half
    assert difference.max() < 1e-4
    history = {
        k: np.stack([f[k] for f in frames[: policy.n_obs_steps]], axis=1) for k in policy.schema.observation_keys
    }
    assert bundle.policy.predict_chunk(history, n_samples=3).values.shape == (2, 3, policy.horizon, 5)


@pytest.mark.slow
def test_a_checkpoint_is_the_base_of_residual_rl(root, tmp_path, capsys):
    demos = shutil.copytree(root / "demos", tmp_path / "demos")
    lerobot_runs.write_checkpoint(tmp_path / "run", demos, "act")
    words = (f"checkpoint={tmp_path / 'run'}", f"dataset={demos}", f"out={tmp_path / 'fine'}")
    assert main(["finetune", *words, *SHORT, *ALGO]) == 0
    shutil.rmtree(demos)  # what the checkpoint's channels were read from
    assert main(["eval", f"checkpoint={tmp_path / 'fine'}", "episodes=2", *SHORT]) == 0
    assert "/2" in capsys.readouterr().out
    assert main(["export", f"checkpoint={tmp_path / 'fine'}", f"out={tmp_path / 'bundle'}"]) == 0
    (policy, residual), bundle = load_checkpoint(tmp_path / "fine"), load_bundle(tmp_path / "bundle")
    frames = [lerobot_runs.random_frames(policy.schema, 2, np.random.default_rng(k)) for k in range(3)]
    assert residual is not None
    np.testing.assert_allclose(
        actions(bundle.policy, frames, bundle.correction), actions(policy, frames, residual), rtol=0, atol=1e-5
    )


def test_the_actions_units_are_read_off_the_pipeline():
    assert action_units(lambda x: 3 * x - torch.tensor([1.0, 2.0]), 2) == {"offset": [-1, -2], "scale": [3, 3]}
    with pytest.raises(UserError, match="does more than to undo a normalisation"):
        action_units(lambda x: x**2, 2)
