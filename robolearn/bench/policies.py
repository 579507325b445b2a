"""Success of behaviour policies on the same demonstrations: ours, with one horizon and with several, and LeRobot's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robolearn.bench._policy_runs import DEMONSTRATIONS, TRAININGS, Run, demonstrations, finish
from robolearn.bench._pool import finish_all, kept, narrow, seeds_of
from robolearn.eval.metrics import SuccessRate
from robolearn.eval.results import Measure, Result, percent, provenance

SUMMARY = "success of diffusion, flow and mixtures beside LeRobot's policies, five tasks (hours; resumes)"
SEEDS = (0, 1, 2)
TASKS = {"pick_place": SEEDS, "stack": SEEDS, "drawer_place": SEEDS, "push": SEEDS[:1], "peg_insert": SEEDS[:1]}
PLOT = Path("docs/images/policies.png")
SHOWN = ("diffusion", "flow", "flow_1_step", "flow_moh", "lerobot_diffusion", "lerobot_act")  # in the picture
MIXTURE = "flow_moh"
SINGLE = ("flow", "flow.execute_4", "flow.execute_16", "flow_horizon_8", "flow_horizon_8.execute_4", "flow_horizon_4")
Outcomes = dict[tuple[str, str], dict[int, list[bool]]]  # by task and row: by seed


def run(
    progress: Callable[[str], None],
    *,
    tasks: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    policies: Sequence[str] | None = None,
) -> list[Measure]:
    """Train and evaluate, two runs at a time on one thread each; finished ones are kept and half-finished ones go on.

    Everybody learns from the same 100 scripted demonstrations without noise, with the same trainer, optimiser, number
    of steps and batch, from batches of the same windows of one observation and 16 actions. A seed is that of weights
    and batches. Success is that of 100 episodes on seeds that no training saw, the same for all, without choosing
    among checkpoints; seeds of a task are pooled.

    - `flow` is the transformer of `policy=flow_dit`, for that is what the mixture is made of.
    - Single horizons: the mixture claims both the foresight of long chunks and the precision of short ones, and to
      know how much of a chunk to execute. So there are policies trained with horizons of 4 and 8, and that of 16 is
      also executed for 4 and for all 16 actions. The best of these is what the mixture must not fall behind.
      `flow_moh` executes as much as its horizons agree on, `flow_moh.execute_8` 8 actions always.
    - LeRobot's policies keep their own losses, normalisation (of `observation.environment_state` too, which their
      defaults leave out) and processors. Diffusion has our U-Net's sizes and samples with its default of 100 steps, or
      with our 10 of DDIM. ACT has about as much to compute in a training step; it has a lower learning rate and
      executes 8 actions, or all 16. Where several ways of execution are compared, so is the best of them.

    Args:
        progress: told of every run.
        tasks: only these.
        seeds: only these.
        policies: only these trainings.

    The measures are of all runs that are finished, now or before. The baseline of ours is the best of LeRobot's.

    Raises:
        UserError: an unknown name, or a run that was begun with other settings.
    """
    chosen = _chosen(tasks, seeds, policies)
    for task in dict.fromkeys(one.task for one in chosen if kept(one) is None):
        progress(f"{task}: {DEMONSTRATIONS} demonstrations in {demonstrations(task)}")
    for i, (one, result) in enumerate(finish_all(chosen, finish)):
        rates = ", ".join(f"{name} {SuccessRate.of(o)}" for name, o in result["outcomes"].items())
        progress(f"{i + 1}/{len(chosen)}: {one.task}, seed {one.seed}: {rates} (commit {result['commit']})")
    finished = {one: kept(one) for one in _all_runs()}
    results = {one: result for one, result in finished.items() if result is not None}
    outcomes = _outcomes(results)
    measures = [*_measures(outcomes), Measure("finished_runs", len(results), "1", len(finished))]
    if PLOT.parent.is_dir():
        _plot(outcomes)
    return measures


def finished_seeds(**_: object) -> tuple[int, ...]:
    """Seeds of the finished runs, of which the figures are."""
    return seeds_of(_all_runs())


def table(result: Result) -> str:
    """Return a table for the README: rows of policies, columns of tasks, success with its interval."""
    rates = {m.id: m for m in result.measures}
    names = [name for training in TRAININGS.values() for name in training.ways]
    shown = [task for task in TASKS if any(f"success.{task}.{name}" in rates for name in names)]
    lines = ["| Policy | " + " | ".join(shown) + " |", "|---|" + "---:|" * len(shown)]
    for name in names:
        cells = [percent(rates.get(f"success.{task}.{name}")) for task in shown]
        if any(cells):
            lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    runs = rates["finished_runs"].value
    lines += ["", f"- {runs:.0f} of {len(_all_runs())} runs are finished"]
    return "\n".join(lines) + "\n\n" + provenance(result) + "\n"


def _all_runs() -> list[Run]:
    """All, one seed after the other, so that each task has figures early."""
    return [Run(task, name, seed) for seed in SEEDS for task in TASKS if seed in TASKS[task] for name in TRAININGS]


def _chosen(tasks: Sequence[str] | None, seeds: Sequence[int] | None, policies: Sequence[str] | None) -> list[Run]:
    names = (("task", "task", tasks), ("policy", "training", policies))
    return narrow("policies", _all_runs(), *names, seeds=seeds, offered=SEEDS)


def _outcomes(results: Mapping[Run, Mapping[str, Any]]) -> Outcomes:
    outcomes: Outcomes = {}
    for one, result in results.items():
        for name, successes in result["outcomes"].items():
            outcomes.setdefault((one.task, name), {})[one.seed] = successes
    return outcomes


def _pooled(outcomes: Outcomes, task: str, names: Sequence[str]) -> dict[str, SuccessRate]:
    """Rates over the seeds of those rows that are there."""
    found = {name: outcomes[task, name] for name in names if (task, name) in outcomes}
    return {name: SuccessRate.of([o for seed in by_seed.values() for o in seed]) for name, by_seed in found.items()}


def _measures(outcomes: Outcomes) -> list[Measure]:
    return [measure for task in TASKS for measure in _of_task(outcomes, task)]


def _of_task(outcomes: Outcomes, task: str) -> list[Measure]:
    """Every row pooled, ours beside the best of LeRobot's; the mixture beside the best single horizon; each seed."""
    rows = {
        kind: _pooled(
            outcomes, task, [name for t in TRAININGS.values() if (t.lerobot is None) is kind for name in t.ways]
        )
        for kind in (True, False)
    }
    best = _best(rows[False])
    measures = [
        *(Measure(f"success.{task}.{name}", r.rate, "1", best, r.interval) for name, r in rows[True].items()),
        *(Measure(f"success.{task}.{name}", r.rate, "1", None, r.interval) for name, r in rows[False].items()),
    ]
    if MIXTURE in rows[True] and (single := _best(_pooled(outcomes, task, SINGLE))) is not None:
        mixture = rows[True][MIXTURE]
        measures.append(Measure(f"mixture_beside_best_single.{task}", mixture.rate, "1", single, mixture.interval))
    for name in (*rows[True], *rows[False]):
        for seed, successes in outcomes[task, name].items():
            one = SuccessRate.of(successes)
            measures.append(Measure(f"success.{task}.{name}.seed{seed}", one.rate, "1", None, one.interval))
    return measures


def _best(rates: Mapping[str, SuccessRate]) -> float | None:
    return max((r.rate for r in rates.values()), default=None)


def _plot(outcomes: Outcomes) -> None:
    from robolearn.eval.plots import Bar, save_bars

    groups: dict[str, list[Bar]] = {}
    for task in TASKS:
        rates = _pooled(outcomes, task, SHOWN)
        if rates:
            groups[task] = [Bar(name, r.rate, *r.interval) for name, r in rates.items()]
    if groups:
        save_bars(PLOT, groups, order=SHOWN, ylabel="success", ylim=(0.0, 1.02))
