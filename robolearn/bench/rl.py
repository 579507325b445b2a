"""Online RL on top of the same base policies: success over control steps, ours beside published algorithms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robolearn.bench._pool import finish_all, kept, narrow, seeds_of
from robolearn.bench._reward_runs import learn_progress
from robolearn.bench._rl_measures import area, interval, reached, steps_to, worst_drop
from robolearn.bench._rl_problems import PROBLEMS, Run, runs_of
from robolearn.bench._rl_problems import SEEDS as SEEDS
from robolearn.bench._rl_runs import finish, prepare
from robolearn.eval.metrics import SuccessRate
from robolearn.eval.results import Measure, Result, provenance

SUMMARY = "online RL algorithms on the same base policies: success over control steps (many hours; resumes)"
COLUMNS: dict[str, Callable[[float], str]] = {
    "runs": "{:.0f}".format,
    "steps": lambda steps: f"{steps / 1000:.0f} k",
    "area": "{:.2f}".format,
    "drop": "{:.2f}".format,
    "success": "{:.2f}".format,
}
PLOTS = Path("docs/images")
Results = Mapping[Run, Mapping[str, Any]]


def run(
    progress: Callable[[str], None],
    *,
    only: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    algorithms: Sequence[str] | None = None,
    steps: int | None = None,
) -> list[Measure]:
    """Fine-tune the same base policy of each task with each algorithm, two runs at a time on one thread each.

    Every run has the same demonstrations, base, sparse reward, horizon and evaluation seeds (100 episodes a point).
    Steps are control steps, those of the warm-up and of the demonstrations included. A run that has learned stops where
    two evaluations in a row reach the algorithm's `stop_at`, the same for all, and counts as staying there. Finished
    runs are kept, half-finished ones go on. Rewards that are shaped by progress that was learned take the `sarm` of
    `robolearn bench rewards`, which must not run at the same time.

    Args:
        progress: told of every run.
        only: these problems, e.g. P1.
        tasks: only these.
        seeds: only these.
        algorithms: only these.
        steps: control steps of a run instead of the problem's.

    Raises:
        UserError: an unknown name, or a run that was begun with other settings.
    """
    chosen = _chosen(only, tasks, seeds, algorithms, steps)
    for task, base in dict.fromkeys((one.task, one.base) for one in chosen if kept(one) is None):
        known = prepare(task, base)
        progress(f"{task}: {base.name} {known['success']:.2f} from {base.demonstrations} demonstrations")
    for model in dict.fromkeys(one.estimator for one in chosen if one.estimator and kept(one) is None):
        progress(f"{model.task}: progress of seed {model.seed} learned in {learn_progress(model)}")
    for i, (one, result) in enumerate(finish_all(chosen, finish)):
        rate = SuccessRate.of(result["outcomes"])
        progress(f"{i + 1}/{len(chosen)}: {one.problem}, {one.task}, {one.algorithm}, seed {one.seed}: {rate}")
    everything = {one: kept(one) for problem in PROBLEMS for one in runs_of(problem, budget=steps)}
    finished: Results = {one: result for one, result in everything.items() if result is not None}
    if PLOTS.is_dir():
        _plot(finished)
    return [measure for problem in PROBLEMS for measure in _of_problem(problem, finished)]


def finished_seeds(*, steps: int | None = None, **_: object) -> tuple[int, ...]:
    """Seeds of the finished runs, of which the figures are."""
    return seeds_of([one for problem in PROBLEMS for one in runs_of(problem, budget=steps)])


def table(result: Result) -> str:
    """Return a table for the documents: for each task one row for each algorithm, then those over all tasks."""
    values = {m.id: m for m in result.measures}
    lines = [
        "| Problem | Task | Algorithm | Runs | Steps to 95 % | Area | Worst drop | Success at the end |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, problem in PROBLEMS.items():
        places = {task: f".{task}" for task in problem.bases} | ({"all": ""} if len(problem.bases) > 1 else {})
        for task, place in places.items():
            for algorithm in problem.algorithms:
                row = f"{name.lower()}.{algorithm}{place}"
                if f"runs.{row}" not in values:
                    continue
                cells = {kind: _cell(values[f"{kind}.{row}"], text) for kind, text in COLUMNS.items()}
                if not values[f"reached.{row}"].value:
                    cells["steps"] = f"> {cells['steps']}"
                lines.append(f"| {name} | {task} | `{algorithm}` | {' | '.join(cells.values())} |")
    return "\n".join(lines) + "\n\n" + provenance(result) + "\n"


def _cell(measure: Measure, text: Callable[[float], str]) -> str:
    spread = "" if measure.interval is None else f" ({text(measure.interval[0])} to {text(measure.interval[1])})"
    return text(measure.value) + spread


def _chosen(
    only: Sequence[str] | None,
    tasks: Sequence[str] | None,
    seeds: Sequence[int] | None,
    algorithms: Sequence[str] | None,
    budget: int | None,
) -> list[Run]:
    runs = [one for problem in PROBLEMS for one in runs_of(problem, budget=budget)]
    names = (("problem", "problem", only), ("task", "task", tasks), ("algorithm", "algorithm", algorithms))
    return narrow("rl", runs, *names, seeds=seeds, offered=SEEDS)


def _of_problem(problem: str, finished: Results) -> list[Measure]:
    measures = []
    for algorithm in PROBLEMS[problem].algorithms:
        by_task: dict[str, list[tuple[Run, Mapping[str, Any]]]] = {}
        for one, result in finished.items():
            if (one.problem, one.algorithm) == (problem, algorithm):
                by_task.setdefault(one.task, []).append((one, result))
        if by_task:
            # over tasks of which some have more runs than others nothing can be said
            if len(by_task) == len(PROBLEMS[problem].bases) and len({len(group) for group in by_task.values()}) == 1:
                measures += _of_algorithm(f"{problem.lower()}.{algorithm}", list(by_task.values()))
            for task, group in by_task.items():
                measures += _of_algorithm(f"{problem.lower()}.{algorithm}.{task}", [group])
    return measures


def _of_algorithm(name: str, groups: Sequence[Sequence[tuple[Run, Mapping[str, Any]]]]) -> list[Measure]:
    kinds: dict[str, tuple[str, Callable[[Run, Mapping[str, Any]], float]]] = {
        "steps": ("steps", lambda one, result: steps_to(result, one.budget)),
        "area": ("1", lambda one, result: area(result, one.budget)),
        "success": ("1", lambda one, result: SuccessRate.of(result["outcomes"]).rate),
        "seconds": ("s", lambda one, result: result["curve"][-1]["cpu_seconds"]),
        "act_ms": ("ms", lambda one, result: result["act_ms"]["mean"]),
    }
    measures = []
    for kind, (unit, value) in kinds.items():
        middle, low, high = interval([[value(*one) for one in group] for group in groups])
        # of a single run nothing is known of the spread
        within = None if any(len(group) < 2 for group in groups) else (low, high)
        measures.append(Measure(f"{kind}.{name}", middle, unit, None, within))
    flat = [one for group in groups for one in group]
    return [
        *measures,
        Measure(f"drop.{name}", max(worst_drop(result) for _, result in flat), "1"),
        Measure(f"reached.{name}", sum(reached(result) for _, result in flat) / len(flat), "1"),
        Measure(f"runs.{name}", len(flat), "1"),
    ]


def _plot(finished: Results) -> None:
    """Learning curves of each problem: mean over the seeds, and the band from the worst to the best."""
    import numpy as np

    from robolearn.bench._rl_measures import points
    from robolearn.eval.charts import Chart, Series
    from robolearn.eval.plots import save_charts

    for name, problem in PROBLEMS.items():
        charts = []
        for task in problem.bases:
            series = []
            for algorithm in problem.algorithms:
                of = [
                    r
                    for one, r in finished.items()
                    if (one.problem, one.task, one.algorithm) == (name, task, algorithm)
                ]
                if not of:
                    continue
                grid = np.unique(np.concatenate([points(result)[0] for result in of]))
                rows = np.stack([np.interp(grid, *points(result)) for result in of])
                series.append(
                    Series(algorithm, grid.tolist(), *(f(rows, axis=0).tolist() for f in (np.mean, np.min, np.max)))
                )
            if series:
                charts.append(Chart(task, "control steps", "success", series, ylim=(0.0, 1.02)))
        if charts:
            save_charts(PLOTS / f"rl_{name.lower()}.png", charts)
