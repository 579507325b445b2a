"""`robolearn bench actors`: what is counted, and that a tiny one runs; never how fast."""

from types import SimpleNamespace

import pytest

from robolearn.bench import actors
from robolearn.rl.online import Clock


def watch(monkeypatch, rounds, *, learning):
    """Look at a training whose rounds are (second, control steps, updates); return the rate."""
    clock = Clock()
    seen = actors._Watch(SimpleNamespace(clock=clock), learning=learning, seconds=10.0)
    for second, clock.steps, clock.updates in rounds:
        monkeypatch.setattr(actors.time, "perf_counter", lambda now=second: now)
        try:
            seen()
        except actors._EnoughError:
            return seen.rate
    return None


ROUNDS = [(0, 0, 0), (50, 100, 0), (52, 300, 40), (58, 1000, 400), (60, 1100, 500), (69, 2000, 600), (71, 2200, 940)]


def test_it_counts_after_it_has_settled_until_it_lasted_long_enough(monkeypatch):
    monkeypatch.setattr(actors, "SETTLE", 5.0)
    # steps settle from 50 s to 58 s and count until 69 s; updates from 52 s to 58 s
    assert watch(monkeypatch, ROUNDS, learning=False) == pytest.approx((2000 - 1000) / 11)
    assert watch(monkeypatch, ROUNDS, learning=True) == pytest.approx((600 - 400) / 11)
    assert watch(monkeypatch, ROUNDS[:5], learning=True) is None


def test_each_number_of_actors_is_compared_with_none():
    rates = {f"{what} {n}": [100.0 * (n + 1), 110.0 * (n + 1)] for n in (0, 1, 2) for what in ("acting", "learning")}
    found = {m.id: m for m in actors._measures(rates)}
    assert found["control_steps_per_s.acting.0_actors"].baseline is None
    assert found["control_steps_per_s.acting.2_actors"].baseline == 105.0
    assert found["updates_per_s.learning.1_actors"].value == 210.0
    assert found["speedup.learning.2_actors"].value == pytest.approx(3.0)
    assert len(found) == 2 * (3 + 2)


@pytest.mark.slow
def test_bench_actors_measures_all_sides(monkeypatch):
    pytest.importorskip("ray")
    for name, value in {"ROUNDS": 1, "SETTLE": 0.0, "SECONDS": 1e-9, "ACTORS": (0, 1)}.items():
        monkeypatch.setattr(actors, name, value)
    monkeypatch.setattr(actors, "COLLECT", (*actors.COLLECT, "num_episodes=2", "expert.noise=0"))
    monkeypatch.setattr(actors, "TRAIN", (*actors.TRAIN, "train.steps=2"))
    monkeypatch.setattr(actors, "ALGO", (*actors.ALGO, "algo.num_envs=2", "task.max_episode_steps=10"))
    found = {m.id: m.value for m in actors.run(lambda line: None)}
    assert set(found) == {
        "control_steps_per_s.acting.0_actors",
        "control_steps_per_s.acting.1_actors",
        "speedup.acting.1_actors",
        "updates_per_s.learning.0_actors",
        "updates_per_s.learning.1_actors",
        "speedup.learning.1_actors",
    }
    assert all(value > 0 for value in found.values())
