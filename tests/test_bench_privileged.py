import pytest

from robolearn.bench import privileged
from robolearn.bench.privileged import Run


@pytest.fixture
def small(monkeypatch, tmp_path):
    """One task and two seeds, run in this process and kept in a folder of its own."""
    settings = {"BUDGETS": {"lift": 3000}, "SEEDS": (0, 1), "EPISODES": 4, "OUT": tmp_path / "runs"}
    for name, value in {**settings, "PLOT": tmp_path / "docs" / "images" / "plot.png"}.items():
        monkeypatch.setattr(privileged, name, value)
    monkeypatch.setattr(privileged, "_train", lambda runs: map(privileged.finish, runs))
    (tmp_path / "docs").mkdir()
    return tmp_path


def made_up(outcomes):
    """`finish` with these outcomes by condition."""

    def finish(one):
        curve = [{"steps": 1000.0 * (k + 1), "success": 0.5 * k, "level": 0.0} for k in range(2 + one.seed)]
        return one, {"curve": curve, "outcomes": outcomes[one.condition]}

    return finish


def test_success_is_pooled_over_the_seeds_beside_the_plain_one(small, monkeypatch):
    outcomes = {"privileged": [True, True, True, False], "plain": [False, False, False, True]}
    monkeypatch.setattr(privileged, "finish", made_up(outcomes))
    lines = []
    measures = {m.id: m for m in privileged.run(lines.append)}
    both = measures["success.lift"]
    assert (both.value, both.baseline) == (0.75, 0.25)
    assert both.interval[0] < 0.75 < both.interval[1]
    each = measures["success.lift.seed1"]
    assert (each.value, each.baseline) == (0.75, 0.25)
    assert each.interval[0] < both.interval[0]  # fewer episodes
    assert measures["success.lift.plain"].value == 0.25
    assert len(lines) == 4
    assert (small / "docs" / "images" / "plot.png").stat().st_size > 1000


def test_a_curve_that_ended_early_stays_where_it_was():
    curve = [{"steps": 10.0, "success": 0.2}, {"steps": 20.0, "success": 1.0}]
    assert [privileged._held(curve, step) for step in (5, 10, 15, 20, 99)] == [0.0, 0.2, 0.2, 1.0, 1.0]


@pytest.mark.slow
def test_a_run_is_trained_judged_and_kept(small):
    one = Run("lift", "privileged", 0)
    _, first = privileged.finish(one)
    assert len(first["outcomes"]) == 4
    assert first["curve"][-1]["steps"] >= 3000
    assert privileged.finish(one) == (one, first)
