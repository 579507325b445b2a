"""Reward-aligned behaviour cloning where half the demonstrations go wrong, beside equal weights and true progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.bench._pool import finish_all, kept, narrow, seeds_of
from robolearn.bench._rabc_runs import DEMONSTRATIONS, HALVES, ROWS, TASKS, Run, finish, prepare
from robolearn.eval.metrics import SuccessRate
from robolearn.eval.results import Measure, Result, percent, provenance

SUMMARY = "behaviour cloning with half the demonstrations corrupted, weighted by a reward model (hours; resumes)"
SEEDS = (0, 1, 2)
COMPARED = ("bc", "rabc", "oracle")  # nothing gained, what is judged, all gained
GOAL = 0.8  # of the gap to recover
SMALLEST_GAP = 0.05  # of which a share says anything
DRAWS = 2000  # of the bootstrap
Results = Mapping[Run, Mapping[str, Any]]


def run(
    progress: Callable[[str], None],
    *,
    tasks: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    algorithms: Sequence[str] | None = None,
) -> list[Measure]:
    """Train and evaluate, two runs at a time on one thread each; finished ones are kept and half-finished ones go on.

    All but `clean` learn from the same demonstrations of a task: 50 successes of the scripted expert with noise, and
    50 of an expert of varied speed that fails on purpose, shared among all kinds of failure of the task. What was to
    fail and ended well all the same stays among the corrupted ones, and is counted. The policy, its steps and its
    batches are the same too.

    - `bc` weighs all frames the same.
    - `rabc` weighs them by the progress that a reward model sees: the `sarm` that `robolearn bench rewards` trains with
      the same seed, on other episodes and without two of the kinds of failure. It is taken from there or trained there,
      so the two benchmarks must not run at the same time.
    - `oracle` weighs them by the true progress.
    - `clean` is `bc` on the 50 successes alone, for reference.

    A seed is that of weights, batches and reward model. Success is that of 100 episodes on seeds that no training saw,
    the same for all; seeds of a task are pooled. What is recovered is (rabc - bc) / (oracle - bc) over the seeds that
    have all three, left out where the gap is below 0.05. Its interval is a bootstrap of these episodes, each drawn for
    all rows and seeds at once: it says nothing of other training seeds. It is left out where the gap may be none.

    Args:
        progress: told of every run.
        tasks: only these.
        seeds: only these.
        algorithms: only these rows.

    The measures are of all runs that are finished, now or before. The baseline of a success is that of `bc`, that of a
    recovered share the goal.

    Raises:
        UserError: an unknown name, or a run that was begun with other settings.
    """
    names = (("task", "task", tasks), ("algorithm", "row", algorithms))
    chosen = narrow("rabc", _all_runs(), *names, seeds=seeds, offered=SEEDS)
    missing = [one for one in chosen if kept(one) is None]
    for task in dict.fromkeys(one.task for one in missing):
        progress(prepare(task, {one.row for one in missing if one.task == task}))
    for i, (one, judged) in enumerate(finish_all(chosen, finish)):
        rate = SuccessRate.of(judged["outcomes"])
        progress(f"{i + 1}/{len(chosen)}: {one.task}, {one.row}, seed {one.seed}: {rate}")
    results = {one: result for one in _all_runs() if (result := kept(one)) is not None}
    return [*_measures(results), Measure("finished_runs", len(results), "1", len(_all_runs()))]


def finished_seeds(**_: object) -> tuple[int, ...]:
    """Seeds of the finished runs, of which the figures are."""
    return seeds_of(_all_runs())


def table(result: Result) -> str:
    """Return a table for the documents: a row for each way of weighing, a column for each task; then what it gained."""
    found = {m.id: m for m in result.measures}
    shown = [task for task in TASKS if any(f"success.{task}.{row}" in found for row in ROWS)]
    lines = ["| Training | " + " | ".join(shown) + " |", "|---|" + "---:|" * len(shown)]
    for row in ROWS:
        cells = [percent(found.get(f"success.{task}.{row}")) for task in shown]
        if any(cells):
            lines.append(f"| `{row}` | " + " | ".join(cells) + " |")
    lines += ["", *_notes(found), f"- {found['finished_runs'].value:.0f} of {len(_all_runs())} runs are finished"]
    return "\n".join(lines) + "\n\n" + provenance(result) + "\n"


def _notes(found: Mapping[str, Measure]) -> list[str]:
    """Lines about what was recovered, how halves were weighed, and how many failures were none."""
    shares = [(name, percent(found.get(name))) for name in ("recovered", *(f"recovered.{task}" for task in TASKS))]
    told = ", ".join(f"{name.partition('.')[2] or 'all tasks'} {text}" for name, text in shares if text)
    well = ", ".join(f"{task} {found[i].value:.0f}" for task in TASKS if (i := f"ended_well.{task}") in found)
    lines = {
        f"recovered by `rabc` of the gap between `bc` and `oracle`, goal {GOAL:.0%}": told,
        **{f"mean weight by `{row}` of clean and of corrupted frames": _weights(found, row) for row in ROWS},
        f"of {DEMONSTRATIONS} corrupted demonstrations ended well all the same": well,
    }
    return [f"- {what}: {text}" for what, text in lines.items() if text]


def _weights(found: Mapping[str, Measure], row: str) -> str:
    known = [task for task in TASKS if f"weight.{task}.{row}.{HALVES[0]}" in found]
    pairs = [" and ".join(f"{found[f'weight.{task}.{row}.{half}'].value:.2f}" for half in HALVES) for task in known]
    return ", ".join(f"{task} {pair}" for task, pair in zip(known, pairs, strict=True))


def _all_runs() -> list[Run]:
    """All, one seed after the other."""
    return [Run(task, row, seed) for seed in SEEDS for task in TASKS for row in ROWS]


def _measures(results: Results) -> list[Measure]:
    joined = {task: joint for task in TASKS if (joint := _joint(results, task)) is not None}
    shares = [
        *(recovered(f"recovered.{task}", [joint]) for task, joint in joined.items()),
        recovered("recovered", list(joined.values())),
    ]
    return [
        *(measure for task in TASKS for measure in _of_task(results, task)),
        *(measure for measure in shares if measure is not None),
    ]


def _of_task(results: Results, task: str) -> list[Measure]:
    """Success of every row, pooled and by seed; how the halves were weighed, and how many failures were none."""
    measures, equal = [], None
    for row in ROWS:
        runs = {one.seed: result for one, result in results.items() if (one.task, one.row) == (task, row)}
        if not runs:
            continue
        pooled = SuccessRate.of([success for result in runs.values() for success in result["outcomes"]])
        measures.append(Measure(f"success.{task}.{row}", pooled.rate, "1", equal, pooled.interval))
        equal = pooled.rate if row == "bc" else equal
        for seed, result in runs.items():
            rate = SuccessRate.of(result["outcomes"])
            measures.append(Measure(f"success.{task}.{row}.seed{seed}", rate.rate, "1", None, rate.interval))
        if ROWS[row].weigher:
            for half in HALVES:
                mean = float(np.mean([result["weights"][half] for result in runs.values()]))
                measures.append(Measure(f"weight.{task}.{row}.{half}", mean, "1"))
    counts = [result["ended_well"] for one, result in results.items() if one.task == task and one.row in COMPARED]
    return [*measures, Measure(f"ended_well.{task}", counts[0], "episodes")] if counts else measures


def _joint(results: Results, task: str) -> NDArray[np.float64] | None:
    """Successes [rows, seeds, episodes] of `COMPARED`, of the seeds that have all of them; None where none has."""
    complete = [seed for seed in SEEDS if all(Run(task, row, seed) in results for row in COMPARED)]
    if not complete:
        return None
    return np.array([[results[Run(task, row, seed)]["outcomes"] for seed in complete] for row in COMPARED], float)


def recovered(name: str, tasks: Sequence[NDArray[np.float64]]) -> Measure | None:
    """Share of the gap that is recovered: the sum of (rabc - bc) over tasks, by that of (oracle - bc).

    Args:
        name: of the measure.
        tasks: successes [rows, seeds, episodes] of `COMPARED`, 0 or 1, one array for each task.

    Returns:
        None where the mean gap is below `SMALLEST_GAP`, or there is no task. Without an interval where the gap is none
        in more than one draw of forty.
    """
    if not tasks:
        return None
    gained, gap = _gains(tasks)
    if gap < SMALLEST_GAP:
        return None
    rng = np.random.default_rng(0)
    draws = np.array([_gains([_redrawn(one, rng) for one in tasks]) for _ in range(DRAWS)])
    sound = draws[draws[:, 1] > 0]
    interval = None
    if len(sound) >= 0.975 * DRAWS:
        low, high = np.percentile(sound[:, 0] / sound[:, 1], (2.5, 97.5))
        interval = (float(low), float(high))
    return Measure(name, gained / gap, "1", GOAL, interval)


def _gains(tasks: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """What `rabc` and what `oracle` have more than `bc`, means over tasks."""
    equal, weighed, best = np.mean([one.mean(axis=(1, 2)) for one in tasks], axis=0)
    return float(weighed - equal), float(best - equal)


def _redrawn(outcomes: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """As many episodes, drawn with replacement, the same for all rows and seeds."""
    n = outcomes.shape[2]
    return outcomes[:, :, rng.integers(n, size=n)]
