import pytest

from robolearn.bench import experts
from robolearn.sim.robots import ROBOTS
from robolearn.sim.tasks import TASKS


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Two episodes of an easy task, and one that the low-cost arm cannot do."""
    for name, value in {"OUT": tmp_path, "EPISODES": 2}.items():
        monkeypatch.setattr(experts, name, value)
    monkeypatch.setattr(experts, "commit", lambda: "abc")
    monkeypatch.setattr("robolearn.sim.tasks.TASKS", {name: TASKS[name] for name in ("reach", "edge_grasp")})
    monkeypatch.setattr("robolearn.sim.robots.ROBOTS", {"so101": ROBOTS["so101"]})


def test_a_pair_has_success_with_interval(small):
    lines = []
    measures = {m.id: m for m in experts.run(lines.append)}
    assert list(measures) == ["success.reach.so101"]
    (success,) = measures.values()
    low, high = success.interval
    assert 0.0 <= low <= success.value <= high <= 1.0
    assert any("edge_grasp, so101: left out" in line and "has not the reach" in line for line in lines)


def test_what_this_commit_has_finished_is_not_simulated_again(small, monkeypatch):
    first = experts.run(lambda line: None)
    simulated = []
    monkeypatch.setattr(experts, "_simulate", lambda *pair: simulated.append(pair) or {"outcomes": [False] * 2})
    assert experts.run(lambda line: None) == first
    assert not simulated
    monkeypatch.setattr(experts, "commit", lambda: "def")
    (success,) = experts.run(lambda line: None)
    assert simulated == [("reach", "so101")]
    assert (success.id, success.value) == ("success.reach.so101", 0.0)
