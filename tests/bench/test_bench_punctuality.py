"""What `bench punctuality` makes of what it finds; its processes are tried by running it."""

import pytest

from robolearn.bench import punctuality
from robolearn.bench._pool import kept
from robolearn.errors import UserError
from robolearn.eval.results import Result

FOUND = {"periods": 99, "missed_periods": 1, "lateness_ms": {"p50": 0.01, "p99": 0.1, "max": 0.25}}
OURS = {**FOUND, "holds": 2, "latency_ms": {"p50": 20.0, "p99": 30.0}}
BY_SIDE = {"node": {"summary": OURS}, "timer": {"summary": FOUND}, "thread": {"summary": FOUND, "fifo": True}}


@pytest.fixture
def sides(monkeypatch, tmp_path):
    """Sides that find this at once, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(punctuality, "prepare", lambda: tmp_path)
    for side, found in BY_SIDE.items():
        monkeypatch.setattr(punctuality, f"_{side}", lambda one, bundle, found=found: found)


def test_every_side_of_every_rate_and_load_has_its_figures_and_is_kept(sides):
    told = []
    measures = punctuality.run(told.append, rates=[250], loads=["idle"], seconds=1.0)
    values = {m.id: m.value for m in measures}
    assert len(told) == 3
    assert values["lateness_ms.timer.250.idle.p99"] == 0.1
    assert values["missed_share.thread.250.idle"] == 0.01
    assert values["holds.node.250.idle"] == 2
    assert values["fifo_share"] == 1
    assert all(kept(punctuality.Run(250, "idle", side, 1.0)) for side in punctuality.SIDES)
    result = Result("punctuality", "robolearn bench punctuality", "abc", {"cpu": "x"}, (0,), tuple(measures))
    row = "| 250 Hz, idle | 0.010, 0.100, 0.250 ms | 1.00% | 0.010, 0.100, 0.250 ms | 1.00% | 0.010, 0.100, 0.250 ms |"
    assert row in punctuality.table(result)
    assert "loaded" not in punctuality.table(result)


def test_an_unknown_load_is_refused(sides):
    with pytest.raises(UserError, match="no load 'heavy'"):
        punctuality.run(lambda text: None, loads=["heavy"])


def test_a_sleeping_thread_counts_every_period(monkeypatch):
    found = punctuality._thread(punctuality.Run(100, "idle", "thread", 0.2), None)["summary"]
    assert found["periods"] + found["missed_periods"] >= 20
    assert 0 <= found["lateness_ms"]["p50"] <= found["lateness_ms"]["max"]
