"""`robolearn train`: what it writes, evaluation while it learns, and what it refuses."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from robolearn.cli import main
from robolearn.commands import train as train_module
from robolearn.commands.common import SELECT_SEED
from robolearn.eval.rollout import Episode

TOY = ("policy.hidden_dim=16", "policy.num_blocks=1", "policy.condition_dim=16", "train.batch_size=32")
BUDGET = ("train.steps=20", "train.save_every=10", "train.device=cpu")
WORLDS = ("env.num_envs=2", "env.threads=1", "task.max_episode_steps=10")


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "demos"
    words = ("num_episodes=2", "env.num_envs=2", "env.threads=1", "expert.noise=0", f"out={out}")
    assert main(["collect", *words]) == 0
    return out


def train(demos, out, *words):
    return main(["train", f"dataset={demos}", f"out={out}", *TOY, *BUDGET, *words])


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_it_keeps_the_policy_that_was_best_in_simulation(demos, tmp_path, monkeypatch, capsys):
    rates, asked = iter([0.5, 1.0, 0.0, 0.5]), []

    def evaluate(env, actor, *, first_seed, episodes):
        asked.append((first_seed, episodes, env.num_envs))
        done = round(next(rates) * episodes)
        return [Episode(first_seed + k, k < done, 5) for k in range(episodes)]

    monkeypatch.setattr(train_module, "evaluate", evaluate)
    out = tmp_path / "policy"
    assert train(demos, out, *WORLDS, "train.eval_every=5", "train.eval_episodes=4") == 0
    assert asked == [(SELECT_SEED, 4, 2)] * 4
    assert weights(out / "best") != weights(out / "policy")
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "after 20 steps" in capsys.readouterr().out.replace("\n", " ")
    best = tmp_path / "ten"
    monkeypatch.undo()
    # the policy after ten steps of the same run is that of the best evaluation

    class Killed(BaseException):
        pass

    save = train_module._Pupil.keep

    def keep(self, name):
        save(self, name)
        raise Killed

    monkeypatch.setattr(train_module._Pupil, "keep", keep)
    with pytest.raises(Killed):
        train(demos, best)
    assert weights(best / "policy") == weights(out / "best")


def test_evaluation_in_simulation_does_not_change_what_is_learned(demos, tmp_path):
    assert train(demos, tmp_path / "plain") == 0
    assert train(demos, tmp_path / "watched", *WORLDS, "train.eval_every=10", "train.eval_episodes=2") == 0
    assert weights(tmp_path / "plain" / "policy") == weights(tmp_path / "watched" / "policy")
    assert not (tmp_path / "plain" / "best").exists()
    assert (tmp_path / "watched" / "best" / "model.safetensors").exists()


def test_a_policy_may_read_some_of_the_channels(demos, tmp_path):
    assert train(demos, tmp_path, "observations=[observation.state]") == 0
    schema = json.loads((tmp_path / "policy" / "schema.json").read_text())
    assert set(schema["features"]) == {"observation.state", "action"}


def test_the_result_does_not_depend_on_the_parts_of_a_batch(demos, tmp_path):
    from safetensors.numpy import load_file

    assert train(demos, tmp_path / "whole") == 0
    assert train(demos, tmp_path / "parts", "train.accumulate=3") == 0
    whole, parts = (load_file(tmp_path / name / "policy" / "model.safetensors") for name in ("whole", "parts"))
    for name, expected in whole.items():
        np.testing.assert_allclose(parts[name], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("train.precision=fp23",), "unknown train.precision 'fp23'; did you mean 'fp32'?"),
        (("train.device=gpu",), "there is no device 'gpu' here"),
        (("train.accumulate=33",), "a batch of 32 cannot be cut into 33 parts"),
        (("observations=[observation.stat]",), "no channel 'observation.stat'; did you mean 'observation.state'?"),
        (("image_size=[3]",), "image_size=[3] is no size: give image_size=[HEIGHT,WIDTH]"),
        ((*WORLDS, "train.eval_every=5", "task=stack"), "channel 'observation.environment_state'"),
    ],
)
def test_what_cannot_be_is_explained(demos, tmp_path, words, sentence, capsys):
    assert train(demos, tmp_path / "none", *words) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "none" / "policy").exists()


def test_another_batch_size_is_refused_in_the_same_folder(demos, tmp_path, capsys):
    assert train(demos, tmp_path) == 0
    assert train(demos, tmp_path, "train.batch_size=16") == 2
    assert "was begun with batch_size=32, not 16" in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_train_the_policy_of_one(demos, tmp_path):
    from safetensors.numpy import load_file

    assert train(demos, tmp_path / "one") == 0
    words = [f"dataset={demos}", f"out={tmp_path / 'two'}", *TOY, *BUDGET, *WORLDS]
    words += ["train.eval_every=10", "train.eval_episodes=2"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "robolearn", "train", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("after 20 steps") == 1
    one, two = (load_file(tmp_path / name / "policy" / "model.safetensors") for name in ("one", "two"))
    for name, expected in one.items():
        np.testing.assert_allclose(two[name], expected, rtol=0, atol=1e-5)
