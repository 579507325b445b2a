"""What `bench deployed` makes of its episodes; deployment itself is tested in tests/integration."""

import pytest

from robolearn.bench import deployed
from robolearn.bench._pool import kept
from robolearn.errors import UserError
from robolearn.eval.results import Result
from robolearn.real.ros2 import episodes

LOOP = {
    "ticks": 100,
    "late_chunks": 5,
    "holds": 0,
    "missed_periods": 1,
    "latency_ms": {"p50": 20.0},
    "smoothness": {
        "rms_jerk": [30.0, 40.0],
        "boundary_jump": {"count": 3, "rms": 0.2, "max": 0.3},
        "within_jump": {"count": 9, "rms": 0.1, "max": 0.2},
    },
}


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Executions that episodes were asked for; every fifth fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(deployed, "prepare", lambda task: tmp_path)
    monkeypatch.setattr(deployed, "_in_process", lambda task: {"outcomes": [True] * 50})
    found = []

    def run_episodes(bundle, *, seeds, out, execution):
        found.append((execution.execution, execution.inference_delay))
        return {"episodes": [{"success": seed % 5 != 0} for seed in seeds], "loop": {**LOOP, "periods": 2}}

    monkeypatch.setattr(episodes, "run_episodes", run_episodes)
    return found


def test_every_way_has_its_success_beside_that_in_process(asked):
    measures = deployed.run(lambda text: None, tasks=["stack"], modes=["in_process", "rtc"])
    values = {m.id: m for m in measures}
    assert asked == [("rtc", 0.0), ("rtc", 0.05), ("rtc", 0.1)]
    assert (values["success.stack.rtc.100"].value, values["success.stack.rtc.100"].baseline) == (0.8, 1.0)
    assert values["rms_jerk.stack.rtc.0"].value == pytest.approx(1250**0.5)
    assert values["boundary_jump.stack.rtc.50"].ratio == 2.0
    result = Result("deployed", "robolearn bench deployed", "abc", {"cpu": "x"}, (0,), tuple(measures))
    assert "| `stack`, rtc | 50 ms | 0.80 [0.67, 0.89] | 1.00 | 0.200 (0.100) rad/s | 35 rad/s³ |" in deployed.table(
        result
    )


def test_finished_ways_are_kept(asked):
    for _ in range(2):
        deployed.run(lambda text: None, tasks=["stack"], modes=["blending"])
    assert len(asked) == 3
    assert kept(deployed.Run("stack", "blending", 50))["loop"]["late_chunks"] == 5


def test_an_unknown_way_is_refused(asked):
    with pytest.raises(UserError, match="no mode 'ahead'"):
        deployed.run(lambda text: None, modes=["ahead"])
