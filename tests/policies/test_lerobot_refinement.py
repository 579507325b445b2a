"""LeRobot's checkpoints as the base of what decides per chunk."""

import lerobot_runs
import pytest
from toy_options import LEROBOT_ALGO
from toy_options import LEROBOT_SHORT as SHORT

from robolearn.cli import main
from robolearn.commands.common import load_checkpoint
from robolearn.rl.noise_steering import SteeredPolicy

pytestmark = pytest.mark.slow

ALGO = (*LEROBOT_ALGO, "algo.eval_every=48")


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
