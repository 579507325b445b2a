"""`robolearn eval` on workers gives what it gives in one process."""

import json

import pytest

from robolearn.cli import main

ENV = ("env.num_envs=2", "env.threads=1")


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    out = tmp_path_factory.mktemp("eval")
    assert main(["collect", "num_episodes=2", *ENV, "expert.noise=0", f"out={out / 'demos'}"]) == 0
    network = ("policy.hidden_dim=16", "policy.num_blocks=1", "policy.condition_dim=16")
    words = (*network, "train.steps=2", "train.batch_size=16", f"out={out / 'policy'}")
    assert main(["train", f"dataset={out / 'demos'}", *words]) == 0
    return out / "policy"


def evaluate(policy, out, *words):
    return main(["eval", f"checkpoint={policy}", *ENV, "task.max_episode_steps=8", f"out={out}", *words])


def test_workers_change_nothing(policy, tmp_path):
    for workers in (1, 2):
        words = ("episodes=5", "seed=3", f"workers={workers}")
        assert evaluate(policy, tmp_path / str(workers), *words) == 0
    one, two = (json.loads((tmp_path / name / "episodes.json").read_text())["episodes"] for name in ("1", "2"))
    assert one == two
    assert [episode["seed"] for episode in two] == [3, 4, 5, 6, 7]
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("1", "2")]
    assert names[0] == names[1]
    assert any(name.endswith(".png") for name in names[1])


@pytest.mark.slow  # the workers start for it
def test_a_mistake_is_told_by_workers_as_by_one_process(policy, tmp_path, capsys):
    assert evaluate(policy, tmp_path, "episodes=3", "task=stack", "workers=2") == 2
    assert "channel 'observation.environment_state'" in capsys.readouterr().err


def test_an_unknown_launcher_is_named(policy, tmp_path, capsys):
    assert evaluate(policy, tmp_path, "launcher=slurm") == 2
    assert "unknown launcher 'slurm'" in capsys.readouterr().err
