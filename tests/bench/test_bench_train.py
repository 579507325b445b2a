"""`robolearn bench train`: both sides take the same steps; never how fast."""

import tempfile

import numpy as np
import pytest
import torch

from robolearn.bench import _latency, train
from robolearn.bench._latency import AGAINST, measures, times_in_turns
from robolearn.bench._training import our_training

TINY = {
    "EPISODES": 2,
    "STEPS": 20,
    "BATCH_SIZE": 4,
    "BATCHES": 2,
    "WORKERS": 1,
    "ROUNDS": 1,
    "SECONDS": 1e-9,
    "CALL_SECONDS": 1e-9,
    "CALLS": 1,
}


def test_the_median_of_a_policy_stands_beside_lerobots():
    times = {"onnx.flow": [[0.001, 0.002, 0.009], [0.003]], AGAINST: [[0.010], [0.030]]}
    found = {m.id: m for m in measures(times)}
    ours = found["chunk_ms.onnx.flow"]
    assert (ours.value, ours.baseline, ours.interval) == (2.5, 20.0, (2.0, 3.0))
    tail = found["chunk_ms_p99.onnx.flow"]
    assert tail.value == pytest.approx(1e3 * np.percentile([0.001, 0.002, 0.009, 0.003], 99))
    assert tail.baseline == pytest.approx(1e3 * np.percentile([0.010, 0.030], 99))
    assert found[f"chunk_ms.{AGAINST}"].baseline is None


def test_every_policy_is_called_in_every_round():
    called = []
    calls = {"a": lambda: called.append("a"), "b": lambda: called.append("b")}
    times = times_in_turns(calls, rounds=2, seconds=0.0, at_least=3, progress=lambda line: None)
    assert [[len(spent) for spent in rounds] for rounds in times.values()] == [[3, 3], [3, 3]]
    assert "".join(called) == "ab" + 2 * "aaabbb"


def test_steps_and_loading_have_their_own_baselines():
    rates = {"step": [64.0, 128.0, 64.0], "step lerobot": [32.0, 32.0, 32.0]}
    rates |= {"loading": [60.0], "loading lerobot": [10.0], "loading lerobot workers": [20.0]}
    steps = {m.id: m for m in train._steps(rates)}
    assert (steps["step_ms.diffusion"].value, steps["step_ms.diffusion"].baseline) == (1000.0, 2000.0)
    assert steps["step_time_share.diffusion"].value == 0.5
    assert steps["step_time_share.diffusion"].interval == (0.25, 0.5)
    loading = {m.id: m.value for m in train._loading(rates)}
    assert loading["speedup.with_loading"] == 6.0
    assert loading[f"speedup.with_loading.lerobot_{train.WORKERS}_workers"] == 3.0


class Line(torch.nn.Module):
    """Learns a number; counts its steps."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.steps = 0

    def get_optim_params(self):
        return [self.weight]

    def forward(self, batch):
        self.steps += 1
        return (self.weight - batch["x"]).square().mean(), {}


def test_a_turn_of_ours_really_trains_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    policy = Line()
    rate = our_training(policy, lambda step: {"x": torch.ones(8)}, batch_size=8)(0.05)
    assert policy.weight.item() != 0.0
    assert 0 < rate < 8 * policy.steps / 0.05
    assert not list(tmp_path.glob("robolearn-bench-*"))


@pytest.mark.slow
def test_bench_train_measures_both_sides(monkeypatch):
    for name, value in TINY.items():
        monkeypatch.setattr(train, name, value)
    monkeypatch.setattr(_latency, "PRESETS", ("flow", "flow_moh"))
    lines = []
    found = {m.id: m for m in train.run(lines.append)}
    assert all(m.value > 0 for m in found.values())
    names = [f"{runtime}.{name}" for runtime in ("torch", "onnx") for name in ("flow", "flow_moh")]
    names += ["lerobot.diffusion_ddim_10", "lerobot.diffusion_ddpm_100", "lerobot.act"]
    assert {i.partition(".")[2] for i in found if i.startswith("chunk_ms.")} == set(names)
    step = found["step_ms.diffusion"]
    assert found["step_time_share.diffusion"].value == pytest.approx(step.ratio)
    assert any("exporting flow_moh" in line for line in lines)
