"""LeRobot's checkpoints as the base of what decides per chunk."""

import lerobot_runs
import pytest

from robolearn.cli import main
from robolearn.commands.common import load_checkpoint
from robolearn.rl.noise_steering import SteeredPolicy

pytestmark = pytest.mark.slow

SHORT = ("env.num_envs=2", "env.threads=1", "task.max_episode_steps=6")
ALGO = (
    "algo.num_envs=2",
    "algo.total_steps=48",
    "algo.eval_every=48",
    "algo.eval_episodes=2",
    "algo.warmup_steps=16",
    "algo.critic_warmup_updates=2",
    "algo.batch_size=8",
    "algo.hidden=16",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lerobot")
    lerobot_runs.write_dataset(folder / "demos", episodes=1, length=12)
    return folder


@pytest.mark.parametrize("kind", ["ddim", "flow"])
def test_the_noise_of_a_checkpoint_is_steered(root, kind, tmp_path, capsys):
    lerobot_runs.write_checkpoint(tmp_path / "run", root / "demos", kind)
    words = (f"checkpoint={tmp_path / 'run'}", f"dataset={root / 'demos'}", f"out={tmp_path / 'fine'}")
    assert main(["finetune", "algo=noise_steering", *words, *SHORT, *ALGO]) == 0
    assert isinstance(load_checkpoint(tmp_path / "fine").policy, SteeredPolicy)
    assert main(["eval", f"checkpoint={tmp_path / 'fine'}", "episodes=2", *SHORT]) == 0
    assert "/2" in capsys.readouterr().out


def test_a_checkpoint_without_noise_cannot_be_steered(root, tmp_path, capsys):
    lerobot_runs.write_checkpoint(tmp_path / "run", root / "demos", "act")
    words = (f"checkpoint={tmp_path / 'run'}", f"dataset={root / 'demos'}", f"out={tmp_path / 'fine'}")
    assert main(["finetune", "algo=noise_steering", *words, *SHORT, *ALGO]) == 2
    assert "draws no noise" in capsys.readouterr().err
