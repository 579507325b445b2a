"""What `bench latency` makes of its times, and the checkpoint that it gives to LeRobot's server."""

from pathlib import Path

import lerobot_runs
import numpy as np
import pytest
import torch

from robolearn.bench import _lerobot_async, latency
from robolearn.eval.results import Result
from robolearn.policies.lerobot_adapter.checkpoint import load_pipelines, read_config
from robolearn.policies.serving import SCHEMA


def samples(scale):
    parts = {stage: [scale * k for k in range(1, 4)] for stage in ("observation", "transport", "inference", "command")}
    return {**parts, "latency": [4 * scale * k for k in range(1, 4)]}


def test_each_stage_has_its_figures_beside_lerobots():
    measures = latency._measures({"node": samples(1.0), "lerobot": samples(2.0)})
    values = {m.id: m for m in measures}
    assert (values["latency_ms.p50"].value, values["latency_ms.p50"].ratio) == (8.0, 0.5)
    assert values["command_ms.p99"].value == pytest.approx(2.98)
    assert (values["observations"].value, values["observations"].baseline) == (3, 3)
    result = Result("latency", "robolearn bench latency", "abc", {"cpu": "x"}, (0,), tuple(measures))
    assert "| **observation to command** | 8.0, 11.9 ms | 16.0, 23.8 ms | 0.50x |" in latency.table(result)


def test_stages_add_up():
    note = {"started": 10.002, "inferred": 10.010, "arrived": 10.011, "commanded": 10.050}
    stages = _lerobot_async._stages(10.0, note)
    assert stages["inference"] == pytest.approx(8.0)
    assert stages["transport"] == pytest.approx(3.0)
    assert sum(value for name, value in stages.items() if name != "latency") == pytest.approx(stages["latency"])


def test_lerobot_runs_where_its_logs_are_in_nobodys_way(tmp_path, monkeypatch):
    def process(command, *, cwd, **_):
        given = dict(zip(command[3::2], command[4::2], strict=True))
        assert cwd == latency.OUT
        assert Path(given["--policy"]).is_absolute()
        Path(given["--out"]).write_text('{"stages_ms": [{"latency": 2.0}, {"latency": 3.0}]}')
        assert Path(given["--out"]).is_absolute()

    monkeypatch.chdir(tmp_path)
    latency.OUT.mkdir(parents=True)
    monkeypatch.setattr(latency.subprocess, "run", process)
    assert latency._lerobot(Path("checkpoint"), 1.0) == {"latency": [2.0, 3.0]}


def test_the_server_s_checkpoint_cuts_the_channels_out_of_the_client_s_vector(tmp_path):
    data = lerobot_runs.write_dataset(tmp_path / "data")
    checkpoint = lerobot_runs.write_checkpoint(tmp_path / "run", data, "act")
    schema = lerobot_runs.lift_schema()
    schema.save(checkpoint / SCHEMA)
    before, _ = load_pipelines(latency._for_server(checkpoint), read_config(checkpoint))
    apart, _ = load_pipelines(checkpoint, read_config(checkpoint))
    rng = np.random.default_rng(0)
    channels = {key: torch.tensor(rng.normal(size=schema[key].shape), dtype=torch.float32) for key in schema}
    channels = {key: value for key, value in channels.items() if key in schema.observation_keys}
    joined = before({"observation.state": torch.cat(list(channels.values()))[None]})
    expected = apart({key: value[None] for key, value in channels.items()})
    for key in channels:
        torch.testing.assert_close(joined[key], expected[key])
