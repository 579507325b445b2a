"""Figures and narrowing of the comparison of online RL."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from robolearn.bench import _reward_runs, rl
from robolearn.bench import _rl_measures as figures
from robolearn.bench import _rl_problems as problems
from robolearn.bench import _rl_runs as rl_runs
from robolearn.bench._rl_problems import LEARNED, PROBLEMS, Base, Problem, Run, runs_of
from robolearn.commands.common import save_result
from robolearn.compose import build, compose
from robolearn.errors import UserError
from robolearn.eval.results import Result

BUDGET = 1000


def result(successes, *, steps=None, shown=0, base=0.4):
    """A run whose evaluations are evenly spaced over the budget."""
    steps = np.linspace(0, BUDGET, len(successes)) if steps is None else steps
    curve = [{"steps": float(at), "success": s, "cpu_seconds": 60.0} for at, s in zip(steps, successes, strict=True)]
    known = {"steps": shown, "success": base, "success_in_evaluations": base, "words": []}
    return {"curve": curve, "base": known, "outcomes": [True, False], "act_ms": {"mean": 1.0}}


# ---------------------------------------------------------------- figures


def test_the_first_evaluation_at_95_per_cent_counts_with_the_demonstrations():
    assert figures.steps_to(result([0.4, 0.96, 0.9, 0.95, 1.0], shown=50), BUDGET) == 250 + 50
    assert figures.steps_to(result([0.4, 0.9, 0.94], shown=50), BUDGET) == BUDGET + 50


def test_the_area_is_the_mean_success_over_the_budget():
    assert figures.area(result([0.5, 0.5]), BUDGET) == pytest.approx(0.5)
    assert figures.area(result([0.0, 1.0]), BUDGET) == pytest.approx(0.5)
    assert figures.area(result([0.0, 1.0, 1.0], shown=300), BUDGET) == pytest.approx(0.75, abs=1e-3)


def test_a_run_that_stopped_early_stays_where_it_was():
    short = result([0.0, 1.0], steps=[0, 500])
    assert figures.area(short, BUDGET) == pytest.approx(0.75, abs=1e-3)


def test_the_drop_is_below_the_base_and_never_negative():
    assert figures.worst_drop(result([0.4, 0.1, 0.9])) == pytest.approx(0.3)
    assert figures.worst_drop(result([0.5, 0.6, 0.9])) == 0.0


@pytest.mark.parametrize("count", [1, 2, 3, 6, 8, 9])
def test_the_interquartile_mean_leaves_out_a_quarter_on_each_side(count):
    values = np.random.default_rng(count).normal(size=count)
    found = figures.interquartile_mean(values)
    fine = figures.interquartile_mean(np.repeat(values, 4))  # whole values can be left out
    assert found == pytest.approx(fine) == pytest.approx(stats.trim_mean(np.repeat(values, 4), 0.25))


def test_the_interval_holds_the_mean_and_widens_with_the_spread():
    narrow, wide = (figures.interval([[0.5 - d, 0.5, 0.5 + d], [0.5 - d, 0.5, 0.5 + d]]) for d in (0.01, 0.2))
    for middle, low, high in (narrow, wide):
        assert low <= middle <= high
    assert wide[2] - wide[1] > narrow[2] - narrow[1] > 0
    assert figures.interval([[0.7]]) == (0.7, 0.7, 0.7)


def test_the_last_evaluation_may_be_the_one_that_reaches_95_per_cent():
    assert figures.reached(result([0.4, 0.9, 0.95]))
    assert not figures.reached(result([0.4, 0.9, 0.94]))


# ---------------------------------------------------------------- the whole


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Two algorithms on two tasks with two seeds."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs/images").mkdir(parents=True)
    base = Base(3, 0.1)
    problem = Problem(
        "a test",
        {"lift": base, "push": base},
        BUDGET,
        500,
        {"ours": ("algo=residual",), "theirs": ()},
        num_seeds=2,
    )
    monkeypatch.setattr(problems, "PROBLEMS", {"P9": problem})
    monkeypatch.setattr(rl, "PROBLEMS", {"P9": problem})


def run_some(monkeypatch, **narrowed):
    def finish(chosen, _):
        for one in chosen:
            gained = 1.0 if one.algorithm == "ours" else 0.6
            found = {"settings": one.settings, "commit": "abc", **result([0.4, gained, gained])}
            save_result(one.record, found)
            yield one, found

    monkeypatch.setattr(rl, "finish_all", finish)
    monkeypatch.setattr(rl, "prepare", lambda task, base: {"success": 0.4})
    lines = []
    return {m.id: m for m in rl.run(lines.append, **narrowed)}, lines


def test_every_algorithm_has_its_figures_over_all_and_by_task(small, monkeypatch, tmp_path):
    found, lines = run_some(monkeypatch)
    assert found["steps.p9.ours"].value == 500
    assert found["steps.p9.theirs"].value == BUDGET
    assert found["area.p9.ours.lift"].value == pytest.approx(0.85, abs=1e-3)
    assert found["reached.p9.theirs"].value == 0.0
    assert (found["runs.p9.ours"].value, found["runs.p9.ours.push"].value) == (4, 2)
    assert len(lines) == 2 + 8
    assert (tmp_path / "docs/images/rl_p9.png").stat().st_size > 5000


def test_finished_runs_of_before_count_too(small, monkeypatch):
    run_some(monkeypatch, algorithms=["theirs"])
    found, lines = run_some(monkeypatch, algorithms=["ours"], seeds=[0], tasks=["lift"])
    assert len(lines) == 1 + 1
    assert (found["runs.p9.ours.lift"].value, found["runs.p9.theirs"].value) == (1, 4)
    assert "runs.p9.ours" not in found


def test_nothing_is_said_over_tasks_of_which_some_have_more_runs(small, monkeypatch):
    run_some(monkeypatch, tasks=["lift"])
    found, _ = run_some(monkeypatch, tasks=["push"], seeds=[0])
    assert (found["runs.p9.ours.lift"].value, found["runs.p9.ours.push"].value) == (2, 1)
    assert "area.p9.ours" not in found


def test_one_run_has_no_interval(small, monkeypatch):
    found, _ = run_some(monkeypatch, seeds=[0])
    assert found["area.p9.ours.lift"].interval is None


def test_a_change_of_the_defaults_makes_another_run(monkeypatch):
    one = Run("P1", "metaworld_assembly", "residual", 0, 100)
    before = one.settings
    monkeypatch.setattr(problems, "_composed", lambda words: {**before["algo"], "tau": 0.9})
    assert one.settings != before


def test_the_table_has_a_row_for_each_task_and_algorithm_and_for_all_tasks(small, monkeypatch):
    found, _ = run_some(monkeypatch)
    text = rl.table(Result("rl", "c", "abc", {"cpu": "x"}, (0,), tuple(found.values())))
    for task, runs in (("lift", 2), ("push", 2), ("all", 4)):
        assert f"| P9 | {task} | `ours` | {runs} | 0 k (0 k to 0 k) | 0.85 (0.85 to 0.85) | 0.00 |" in text
        assert f"| P9 | {task} | `theirs` | {runs} | > 1 k (1 k to 1 k) |" in text


@pytest.mark.parametrize(
    ("narrowed", "sentence"),
    [
        ({"only": ["P8"]}, "has no problem 'P8'; valid: P9"),
        ({"tasks": ["lfit"]}, "has no task 'lfit'; did you mean 'lift'"),
        ({"algorithms": ["our"]}, "has no algorithm 'our'; did you mean 'ours'"),
        ({"seeds": [7]}, "has no such run"),
    ],
)
def test_what_is_not_there_is_named(small, narrowed, sentence):
    with pytest.raises(UserError, match=sentence):
        rl.run(print, **narrowed)


@pytest.mark.parametrize("problem", list(PROBLEMS))
def test_every_run_composes_with_its_budget(problem):
    for one in (one for one in runs_of(problem, budget=1234) if one.seed == 1):
        config = build("finetune", compose("finetune", [*one.words, "checkpoint=c", "dataset=d"]))
        assert config.algo.total_steps == 1234
        assert config.seed == 1


def test_a_run_with_another_budget_is_another_run():
    one = Run("P1", "metaworld_assembly", "residual", 0, 100)
    assert one.settings != one._replace(budget=200).settings


def test_a_reward_may_be_shaped_by_progress_that_was_learned(monkeypatch, tmp_path):
    rows = {one.algorithm: one for one in runs_of("shaping") if (one.task, one.seed) == ("lift", 1)}
    models = {name: one.estimator for name, one in rows.items()}
    assert models["sparse"] is models["shaped_by_simulator"] is None
    assert models["shaped"] == models["raw"]
    assert (models["raw"].task, models["raw"].seed) == ("lift", 1)
    assert rows["raw"].settings["estimator"] == models["raw"].settings
    assert "estimator" not in rows["sparse"].settings

    asked, trained = [], []
    monkeypatch.setattr(rl_runs, "finetune", lambda words, **_: asked.append(words))
    monkeypatch.setattr(_reward_runs, "learn_progress", lambda model: trained.append(model) or tmp_path)
    monkeypatch.setattr(rl_runs, "judge", lambda *_: [])
    monkeypatch.setattr(rl_runs, "act_ms", lambda *_: {})
    for name in ("raw", "shaped_by_simulator"):
        rl_runs._finetune(rows[name])
    assert f"shaping.potential={tmp_path}" in asked[0]
    assert "shaping.kind=raw" in asked[0]
    assert LEARNED not in asked[0]
    assert "shaping.potential=simulator" in asked[1]
    assert trained == [models["raw"]]


def test_reward_models_are_trained_before_the_runs_that_they_shape(small, monkeypatch, tmp_path):
    rows = {"shaped": ("algo=rlpd", LEARNED), "raw": ("algo=rlpd", LEARNED, "shaping.kind=raw")}
    problem = replace(problems.PROBLEMS["P9"], algorithms=rows)
    monkeypatch.setattr(problems, "PROBLEMS", {"P9": problem})
    monkeypatch.setattr(rl, "PROBLEMS", {"P9": problem})
    told = []
    monkeypatch.setattr(rl, "learn_progress", lambda model: told.append((model.task, model.seed)) or tmp_path)
    run_some(monkeypatch)
    assert told == [("lift", 0), ("push", 0), ("lift", 1), ("push", 1)]


def test_a_rows_own_option_replaces_the_common_one():
    (one,) = (one for one in runs_of("ablation") if one.algorithm == "twice_the_updates" and one.seed == 0)
    assert [word for word in one.words if word.startswith("algo.utd")] == ["algo.utd=1.0"]
    assert [word for word in one.words if word.startswith("algo=")] == ["algo=residual"]
