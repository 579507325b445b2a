"""Devices, and a training that several processes share."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_training
from toy_training import make_policy, run, weighted, weights

from robolearn.errors import UserError
from robolearn.train.ranks import Ranks, joined, pick_device

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node=2")
# without a GPU this is accelerate's way to start processes, in spite of its name
ACCELERATE = (
    "accelerate.commands.launch",
    "--multi_gpu",
    "--num_machines=1",
    "--num_processes=2",
    "--mixed_precision=no",
    "--dynamo_backend=no",
)


def start(launcher: tuple[str, ...], *words: object) -> None:
    command = [sys.executable, "-m", *launcher, toy_training.__file__, *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_a_process_of_its_own_has_nobody_to_wait_for():
    with joined(torch.device("cpu")) as ranks:
        assert ranks == Ranks(0, 1)
        assert ranks.first
        values = torch.ones(2)
        ranks.sum_(values)
        assert values.tolist() == [1, 1]


def test_devices_are_picked_by_name(monkeypatch):
    assert pick_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    for name in ("gpu", "cuda:99", "xla"):
        with pytest.raises(UserError, match=f"there is no device '{name}' here .*: give auto, cpu, or one that is"):
            pick_device(name)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_train_like_one(tmp_path, launcher, accumulate):
    if importlib.util.find_spec(launcher[0].partition(".")[0]) is None:
        pytest.skip(f"{launcher[0]} is not there: it comes with the extra `training`")
    alone = make_policy()
    run(alone, tmp_path / "alone")
    start(launcher, tmp_path / "two", accumulate)
    first, second = (np.load(tmp_path / "two" / f"weights_{rank}.npy") for rank in (0, 1))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, weights(alone).numpy(), rtol=0, atol=2e-6)


@pytest.mark.slow
def test_two_processes_weigh_samples_like_one(tmp_path):
    alone = make_policy()
    run(alone, tmp_path / "alone", weighted)
    start(TORCHRUN, tmp_path / "two", 2, 0, "weighted")
    for rank in (0, 1):
        found = np.load(tmp_path / "two" / f"weights_{rank}.npy")
        np.testing.assert_allclose(found, weights(alone).numpy(), rtol=0, atol=2e-6)


@pytest.mark.slow
def test_a_run_killed_with_two_processes_goes_on_with_one(tmp_path):
    alone = make_policy()
    run(alone, tmp_path / "alone")
    with pytest.raises(AssertionError, match="SIGKILL"):
        start(TORCHRUN, tmp_path / "cut", 1, 25)
    policy = make_policy()
    seen = []
    run(policy, tmp_path / "cut", on_step=lambda step, *_: seen.append(step))
    assert seen == list(range(21, 41))
    torch.testing.assert_close(weights(policy), weights(alone), rtol=0, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", ["1", "3"])
def test_a_run_ended_by_sigkill_ends_with_the_same_weights(tmp_path, accumulate):
    script = Path(toy_training.__file__)
    for out, times in (("whole", ("0",)), ("cut", ("13", "27", "0"))):
        for die_at in times:
            command = [sys.executable, str(script), str(tmp_path / out), accumulate, die_at]
            status = subprocess.run(command, capture_output=True, check=False).returncode
            assert status == (0 if die_at == "0" else -9)
    whole, cut = ((tmp_path / out / "weights_0.npy").read_bytes() for out in ("whole", "cut"))
    assert whole == cut
