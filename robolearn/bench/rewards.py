"""Estimators of progress judged by the simulator's predicates, on held-out failures and under controls."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.bench._pool import finish_all, kept, narrow, seeds_of
from robolearn.bench._reward_baselines import THEIRS
from robolearn.bench._reward_judge import unpack
from robolearn.bench._reward_pictures import draw
from robolearn.bench._reward_runs import GIVEN, TRAINED, TRAINED_ON_IMAGES, Run, finish, finish_eyes
from robolearn.bench._reward_sets import INPUTS, TASKS, gather_all
from robolearn.eval.results import Measure, Result, provenance
from robolearn.rewards.metrics import auroc

SUMMARY = "progress and success by reward models, on failures never seen and under controls (hours; resumes)"
SEEDS = (0, 1, 2)
SETS = ("in_distribution", "held_out")
ESTIMATORS = {"state": (*TRAINED, *THEIRS, *GIVEN), "images": (*TRAINED_ON_IMAGES, *THEIRS, *GIVEN)}
TITLES = {"state": "states", "images": "images of 64 x 64"}
DRAWS = 500  # of the bootstrap
PLOTS = Path("docs/images")
Episodes = Mapping[str, NDArray[np.float64]]  # of one run and set: figures by name, one for each episode
Statistic = Callable[[Episodes], float]


def _mean(name: str) -> Statistic:
    return lambda episodes: _mean_of(episodes[name].tolist())


def _area(name: str) -> Statistic:
    return lambda episodes: auroc(episodes[name], episodes["is_success"] > 0.5)


class Metric(NamedTuple):
    """A column of the table.

    Attributes:
        title: of the column.
        statistic: from a run's episodes to its value.
        goals: in distribution and on held-out failures, where there are any.
        more: whether more is better.
        unit: of the value.
    """

    title: str
    statistic: Statistic
    goals: tuple[float, float] | None = None
    more: bool = True
    unit: str = "1"


METRICS = {
    "stage_accuracy": Metric("stage accuracy", _mean("stage_accuracy"), (0.97, 0.92)),
    "progress_error": Metric("progress MAE", _mean("progress_error"), (0.02, 0.05), more=False),
    "spearman": Metric("Spearman with true progress", _mean("spearman"), (0.95, 0.85)),
    "success_auroc": Metric("success AUROC", _area("peak_success"), (0.995, 0.97)),
    "outcome_ranking": Metric("outcome ranking", _area("final_progress")),
    "false_done": Metric('false "done"', _mean("false_done"), (0.02, 0.05), more=False),
    "missed_done": Metric('missed "done"', _mean("missed_done"), more=False),
    "done_latency": Metric("latency of done", _mean("done_latency"), more=False, unit="control steps"),
    "calibration_error": Metric("ECE of success", _mean("calibration_error"), more=False),
    "order_on_successes": Metric("VOC on successes", _mean("order_on_successes")),
}
CONTROLS = {
    "static.order": Metric("VOC of a still picture", _mean("static.order"), (0.05, 0.05), more=False),
    "reversed.spearman": Metric("reversed: Spearman", _mean("reversed.spearman")),
    "rewound.spearman": Metric("rewound: Spearman", _mean("rewound.spearman")),
    "frozen_tail.drift": Metric("frozen tail: drift", _mean("frozen_tail.drift"), more=False),
    "warped.progress_error": Metric("warped: MAE", _mean("warped.progress_error"), more=False),
    "wrong_instruction.progress": Metric(
        "wrong instruction: progress", _mean("wrong_instruction.progress"), more=False
    ),
}


def run(
    progress: Callable[[str], None],
    *,
    only: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    algorithms: Sequence[str] | None = None,
) -> list[Measure]:
    """Train and judge estimators, two at a time on one thread each; finished runs are kept.

    All learn from the same episodes of each task: half of them successes of varied speed with pauses and recoveries,
    the rest partial runs and failures of all kinds but slips and wrong sequences. They are judged on other episodes of
    these kinds, and on those two kinds of failures among as many successes. Inputs are proprioception and either the
    poses of objects or 64 x 64 images of one camera. Colours, light and camera vary a little in images that are learned
    from, and much more beside held-out failures. The truth is the simulator's. All are causal; thresholds are set on
    validation episodes.

    A figure is the mean over tasks and seeds, its interval a bootstrap of episodes within each run. The baseline is the
    better one of LeRobot's SARM as shipped and with its known mistakes mended.

    Args:
        progress: told of every run.
        only: these inputs, `state` or `images`.
        tasks: only these.
        seeds: only these.
        algorithms: only these estimators.

    Raises:
        UserError: an unknown name, or a run that was begun with other settings.
    """
    names = (("input", "inputs", only), ("task", "task", tasks), ("estimator", "estimator", algorithms))
    chosen = narrow("rewards", _all_runs(), *names, seeds=seeds, offered=SEEDS)
    for task, inputs in dict.fromkeys((one.task, one.inputs) for one in chosen if kept(one) is None):
        progress(f"{task}, {inputs}: {gather_all(task, inputs)} episodes")
    first = list(dict.fromkeys(one.eyes for one in chosen if one.eyes is not None and kept(one) is None))
    others = [one for one in chosen if one not in first]
    # one after the other, lest two processes train the same eyes
    outcomes = itertools.chain(finish_all(first, finish_eyes), finish_all(others, finish))
    for i, (one, judged) in enumerate(outcomes):
        told = {name: np.nanmean(unpack(judged["figures"][name]["progress_error"])) for name in SETS}
        text = ", ".join(f"{name} {value:.3f}" for name, value in told.items())
        place = f"{i + 1}/{len(first) + len(others)}"
        progress(f"{place}: {one.task}, {one.inputs}, {one.estimator}, seed {one.seed}: error of progress {text}")
    results = {one: result for one in _all_runs() if (result := kept(one)) is not None}
    if PLOTS.is_dir():
        draw(PLOTS, results)
    return [*_measures(results), Measure("finished_runs", len(results), "1", len(_all_runs()))]


def finished_seeds(**_: object) -> tuple[int, ...]:
    """Seeds of the finished runs, of which the figures are."""
    return seeds_of(_all_runs())


def table(result: Result) -> str:
    """Return tables for the documents: a row for each estimator, a column for each metric, beside its goal."""
    found = {m.id: m for m in result.measures}
    parts = [
        _tables(found, inputs) for inputs in INPUTS if any(one.startswith(_prefix(inputs, SETS[0])) for one in found)
    ]
    runs = found["finished_runs"].value
    return "\n".join([*parts, f"- {runs:.0f} of {len(_all_runs())} runs are finished", "", provenance(result), ""])


def _tables(found: Mapping[str, Measure], inputs: str) -> str:
    """Tables of one kind of inputs, and how fast our estimators read them."""
    speeds = {one: found.get(_prefix(inputs, f"frames_per_s.{one}")) for one in ESTIMATORS[inputs]}
    told = ", ".join(f"`{name}` {speed.value:.0f}" for name, speed in speeds.items() if speed is not None)
    return "\n".join(
        [
            f"From {TITLES[inputs]}:\n",
            *(_table(found, inputs, name, METRICS, name.replace("_", " "), place) for place, name in enumerate(SETS)),
            _table(found, inputs, "controls", CONTROLS, "controls, on successes", 0),
            f"- frames in a second of one thread's time, given one by one (goal: 30): {told}\n",
        ]
    )


def _table(
    found: Mapping[str, Measure], inputs: str, name: str, metrics: Mapping[str, Metric], title: str, place: int
) -> str:
    prefix = _prefix(inputs, name)
    shown = [one for one in ESTIMATORS[inputs] if f"{prefix}.{next(iter(metrics))}.{one}" in found]
    lines = [
        f"| {title} | " + " | ".join(metric.title for metric in metrics.values()) + " |",
        "|---|" + "---:|" * len(metrics),
        "| goal | " + " | ".join(_goal(metric, place) for metric in metrics.values()) + " |",
    ]
    for one in shown:
        cells = [_cell(found.get(f"{prefix}.{key}.{one}")) for key in metrics]
        lines.append(f"| `{one}` | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _goal(metric: Metric, place: int) -> str:
    if metric.goals is None:
        return ""
    return f"{'≥' if metric.more else '≤'} {metric.goals[place]:g}"


def _cell(measure: Measure | None) -> str:
    if measure is None or measure.interval is None:
        return ""
    low, high = measure.interval
    return f"{measure.value:.3f} ({low:.3f} to {high:.3f})"


def _prefix(inputs: str, name: str) -> str:
    """How measures are named."""
    return name if inputs == "state" else f"{inputs}.{name}"


def _all_runs() -> list[Run]:
    """All, one seed after the other."""
    return [
        Run(task, name, seed, inputs)
        for inputs in INPUTS
        for seed in SEEDS
        for task in TASKS
        for name in ESTIMATORS[inputs]
        if seed == 0 or name not in GIVEN
    ]


def _measures(results: Mapping[Run, Mapping[str, Any]]) -> list[Measure]:
    measures = []
    for inputs in INPUTS:
        of_these = {one: result for one, result in results.items() if one.inputs == inputs}
        for name, metrics in (*((one, METRICS) for one in SETS), ("controls", CONTROLS)):
            for key, metric in metrics.items():
                pooled = {one: _pooled(of_these, one, name, metric) for one in ESTIMATORS[inputs]}
                measures += _compared(_prefix(inputs, f"{name}.{key}"), pooled, metric)
        for one in ESTIMATORS[inputs]:
            speeds = [
                result["frames_per_s"]
                for run, result in of_these.items()
                if run.estimator == one and "frames_per_s" in result
            ]
            if speeds:
                measures.append(Measure(_prefix(inputs, f"frames_per_s.{one}"), float(np.median(speeds)), "1/s"))
    return measures


def _compared(name: str, pooled: Mapping[str, tuple[float, float, float]], metric: Metric) -> list[Measure]:
    """Figures of estimators; the baseline of ours is the better of LeRobot's."""
    theirs = [pooled[one][0] for one in THEIRS if one.startswith("lerobot") and np.isfinite(pooled[one][0])]
    best = (max(theirs) if metric.more else min(theirs)) if theirs else None
    return [
        Measure(f"{name}.{one}", value, metric.unit, best if one in TRAINED else None, (low, high))
        for one, (value, low, high) in pooled.items()
        if np.isfinite(value)
    ]


def _pooled(
    results: Mapping[Run, Mapping[str, Any]], estimator: str, name: str, metric: Metric
) -> tuple[float, float, float]:
    """Mean over runs, and the interval of a bootstrap of the episodes of each."""
    runs = [
        {key: unpack(values) for key, values in result["figures"][name].items()}
        for one, result in results.items()
        if one.estimator == estimator
    ]
    if not runs:
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(0)
    drawn = [_mean_of([metric.statistic(_redrawn(episodes, rng)) for episodes in runs]) for _ in range(DRAWS)]
    value = _mean_of([metric.statistic(episodes) for episodes in runs])
    if not np.isfinite(value):
        return value, value, value
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return value, float(low), float(high)


def _mean_of(values: Sequence[float]) -> float:
    """Mean of those values that there are; NaN where there is none."""
    there = [value for value in values if np.isfinite(value)]
    return float(np.mean(there)) if there else float("nan")


def _redrawn(episodes: Episodes, rng: np.random.Generator) -> Episodes:
    """As many episodes, drawn with replacement; a figure of fewer ones is drawn from those."""
    places = {n: rng.integers(n, size=n) for n in {len(values) for values in episodes.values()}}
    return {key: values[places[len(values)]] for key, values in episodes.items()}
