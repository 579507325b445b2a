"""Success of the compact vision-language-action policy on `sort`, whose instruction says what goes where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from robolearn.bench._pictures import Plan, judge, learn
from robolearn.eval.instructions import PHRASINGS
from robolearn.eval.results import Measure

SUMMARY = "success of the compact VLA on `sort` in seen and unseen words, and told something else (an hour; resumes)"
SEEDS = (0,)
PLAN = Plan(
    task="sort",
    policy="vla",
    demonstrations=400,
    noise=0.1,
    steps=10_000,
    batch_size=64,
    n_action_steps=4,
    episodes=200,
    folder=Path("outputs/bench/language"),
)


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Learn on one thread of the CPU, with the budget that `PLAN` says, and judge.

    In `shuffled` the policy is told what some other episode asks for, while the scene's own goal still counts: one that
    listens falls to `chance`.
    """
    from robolearn.sim.tasks import make_task

    result = learn(PLAN, progress)
    progress(f"loss {result['loss']:.3f} after {result['seconds']:.0f} s of training")
    measures = []
    for phrasings in PHRASINGS:
        rate = judge(PLAN, phrasings=phrasings)
        progress(f"{phrasings}: {rate}")
        measures.append(Measure(f"success.{PLAN.task}.{phrasings}", rate.rate, "1", None, rate.interval))
    task = make_task(PLAN.task)
    return [
        *measures,
        Measure("chance", 1 / len(task.instructions), "1"),
        Measure("instructions", sum(map(len, task.instructions)), "1"),
        Measure("training_steps", PLAN.steps, "1"),
        Measure("demonstrations", PLAN.demonstrations, "1"),
    ]
