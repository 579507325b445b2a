"""Runs of the benchmarks of online RL, at toy size: demonstrations, base, fine-tuning, judging."""

import pytest

from robolearn.bench import _rl_judge, guided
from robolearn.bench import _rl_problems as problems
from robolearn.bench import _rl_runs as runs
from robolearn.bench._rl_problems import Base, Problem, Run

SMALL = Base(2, 0.1, words=("policy=flow", "policy.hidden_dim=16", "train.steps=4", "train.batch_size=8"))
TINY = (
    "algo.num_envs=2",
    "algo.hidden=16",
    "algo.batch_size=16",
    "algo.warmup_steps=100",
    "algo.critic_warmup_updates=2",
    "algo.utd=0.1",
)

pytestmark = pytest.mark.slow  # each simulates some dozens of episodes


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "EPISODES", 2)
    monkeypatch.setattr(problems, "EPISODES", 2)
    monkeypatch.setattr(_rl_judge, "EPISODES", 2)
    problem = Problem("a test", {"lift": SMALL}, 400, 200, {"ours": ("algo=residual", *TINY)})
    monkeypatch.setattr(problems, "PROBLEMS", {"P9": problem})


def test_a_run_is_trained_judged_and_kept(small):
    known = runs.prepare("lift", SMALL)
    assert known["steps"] > 10
    assert 0.0 <= known["success"] <= 1.0
    assert runs.prepare("lift", SMALL) == known
    one = Run("P9", "lift", "ours", 0, 400)
    _, result = runs.finish(one)
    assert [point["steps"] for point in result["curve"]] == [0, 200, 400]
    assert len(result["outcomes"]) == 2
    assert result["base"] == known
    assert 0 < result["act_ms"]["mean"] <= result["act_ms"]["p99"]
    assert runs.kept(one) == result
    assert runs.kept(one._replace(budget=500)) is None
    assert (one.folder / "log.txt").exists()


def test_the_guided_policy_is_judged_with_each_number_of_candidates(small, monkeypatch):
    monkeypatch.setattr(guided, "TASK", "lift")
    monkeypatch.setattr(guided, "BASE", SMALL)
    monkeypatch.setattr(guided, "EPISODES", 3)
    learn = ("algo.updates=4", "algo.eval_every=4", "algo.eval_episodes=2", "algo.batch_size=16")
    monkeypatch.setattr(guided, "WORDS", learn)
    found = {m.id: m for m in guided.run(lambda line: None)}
    assert found["success.candidates_16"].baseline == found["success.candidates_1"].value
    assert {f"act_ms.candidates_{n}" for n in (1, 4, 16)} <= found.keys()
    assert found["episodes"].value == 3
