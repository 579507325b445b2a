"""What privileged actions and their curriculum bring: PPO with and without them, everything else the same."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from robolearn.data.files import write_json
from robolearn.eval.metrics import SuccessRate
from robolearn.eval.results import Measure

SUMMARY = "success of PPO with and without privileged actions and curriculum, three tasks and seeds (over an hour)"
SEEDS = (0, 1, 2)
# control steps that each run may take, with privilege or without
BUDGETS = {"edge_grasp": 3_000_000, "stack": 800_000, "lift": 400_000}
CONDITIONS = {"privileged": "curriculum", "plain": "none"}
REWARD = "dense"
EPISODES = 100
OUT = Path("outputs/bench/privileged")
PLOT = Path("docs/images/privileged.png")


class Run(NamedTuple):
    """One training."""

    task: str
    condition: str
    seed: int

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return OUT / f"{self.task}-{self.condition}-seed{self.seed}"


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Train and judge every run, two at a time, each on one thread; finished ones are taken from `outputs`.

    Success is that of each run's best teacher without privilege, on seeds that neither training nor the choice of the
    best one saw.
    """
    runs = [Run(task, condition, seed) for task in BUDGETS for seed in SEEDS for condition in CONDITIONS]
    results: dict[Run, dict[str, Any]] = {}
    for one, result in _train(runs):
        results[one] = result
        rate = SuccessRate.of(result["outcomes"])
        progress(f"{len(results)}/{len(runs)}: {one.task}, {one.condition}, seed {one.seed}: {rate}")
    _plot(results)
    return [measure for task in BUDGETS for measure in _measures(task, results)]


def _train(runs: list[Run]) -> Iterator[tuple[Run, dict[str, Any]]]:
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(2, os.cpu_count() or 1), maxtasksperchild=1) as pool:
        yield from pool.imap(finish, runs)


def finish(one: Run) -> tuple[Run, dict[str, Any]]:
    """Train a teacher, or go on with it, and judge it once; return the run and its result."""
    path = one.folder / "result.json"
    if path.exists():
        return one, json.loads(path.read_text())
    from robolearn.commands.common import REPORT_SEED, evaluate, use_one_thread
    from robolearn.commands.teach import teach
    from robolearn.commands.worlds import make_env
    from robolearn.compose import build, compose
    from robolearn.eval.machine import commit
    from robolearn.rl.teacher import load_teacher

    words = [
        f"task={one.task}",
        f"privilege={CONDITIONS[one.condition]}",
        f"ppo.total_steps={BUDGETS[one.task]}",
        f"ppo.reward={REWARD}",
        f"seed={one.seed}",
        f"out={one.folder}",
        "env.threads=1",
        "env.num_envs=50",
    ]
    config = build("teach", compose("teach", words))
    use_one_thread()
    settings = (config.task, config.robot, config.env, config.ppo, config.privilege)
    curve = teach(*settings, seed=one.seed, out=one.folder)
    env = make_env(config.task, config.robot, config.env)
    teacher = load_teacher(one.folder, env.schema)
    episodes = evaluate(env, teacher, first_seed=REPORT_SEED, episodes=EPISODES)
    env.close()
    outcomes = [episode.success for episode in episodes]
    result = {"command": f"robolearn teach {' '.join(words)}", "commit": commit(), "curve": curve, "outcomes": outcomes}
    write_json(path, result)
    return one, result


def _measures(task: str, results: dict[Run, dict[str, Any]]) -> list[Measure]:
    """Success over all seeds with its interval, the plain condition's as baseline; then each seed's own."""
    pooled = {c: SuccessRate.of(_outcomes(results, task, c)) for c in CONDITIONS}
    with_it, without = pooled["privileged"], pooled["plain"]
    measures = [
        Measure(f"success.{task}", with_it.rate, "1", without.rate, with_it.interval),
        Measure(f"success.{task}.plain", without.rate, "1", None, without.interval),
    ]
    for seed in SEEDS:
        each = {c: SuccessRate.of(results[Run(task, c, seed)]["outcomes"]) for c in CONDITIONS}
        one, other = each["privileged"], each["plain"]
        measures.append(Measure(f"success.{task}.seed{seed}", one.rate, "1", other.rate, one.interval))
    return measures


def _outcomes(results: dict[Run, dict[str, Any]], task: str, condition: str) -> list[bool]:
    return [outcome for seed in SEEDS for outcome in results[Run(task, condition, seed)]["outcomes"]]


def _plot(results: dict[Run, dict[str, Any]]) -> None:
    """Learning curves: mean over the seeds, and the band from the worst to the best."""
    from robolearn.eval.charts import Chart, Series
    from robolearn.eval.plots import save_charts

    charts = []
    for task in BUDGETS:
        series = []
        for condition in CONDITIONS:
            curves = [results[Run(task, condition, seed)]["curve"] for seed in SEEDS]
            steps = sorted({point["steps"] for curve in curves for point in curve})
            rows = [[_held(curve, step) for curve in curves] for step in steps]
            mean = [sum(row) / len(row) for row in rows]
            low, high = [min(row) for row in rows], [max(row) for row in rows]
            series.append(Series(condition, steps, mean, low, high))
        charts.append(Chart(task, "control steps", "success without privilege", series, ylim=(0.0, 1.02)))
    if PLOT.parent.parent.is_dir():
        save_charts(PLOT, charts)


def _held(curve: list[dict[str, float]], step: float) -> float:
    """Success at the last point up to a step: a run that stopped early, having learned, stays where it was."""
    return next((point["success"] for point in reversed(curve) if point["steps"] <= step), 0.0)
