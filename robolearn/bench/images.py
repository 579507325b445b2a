"""Success of a policy that sees `lift` through two cameras of 84 x 84 pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from robolearn.bench._pictures import Plan, judge, learn
from robolearn.eval.results import Measure

SUMMARY = "success of a flow policy on `lift` from the pictures of two cameras (half an hour; resumes)"
SEEDS = (0,)
PLAN = Plan(
    task="lift",
    policy="flow",
    demonstrations=300,
    noise=0.2,
    steps=10_000,
    batch_size=64,
    n_action_steps=4,
    episodes=200,
    folder=Path("outputs/bench/images"),
)


LONGER = 8  # actions of a chunk, the presets' default: what it costs to look less often


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Learn on one thread of the CPU, with the budget that `PLAN` says, and judge."""
    result = learn(PLAN, progress)
    progress(f"loss {result['loss']:.3f} after {result['seconds']:.0f} s of training")
    rate, blind = judge(PLAN), judge(PLAN, n_action_steps=LONGER)
    return [
        Measure(f"success.{PLAN.task}.two_cameras", rate.rate, "1", None, rate.interval),
        Measure(f"success.{PLAN.task}.two_cameras.execute_{LONGER}", blind.rate, "1", None, blind.interval),
        Measure("training_steps", PLAN.steps, "1"),
        Measure("demonstrations", PLAN.demonstrations, "1"),
    ]
