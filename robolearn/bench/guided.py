"""Value-guided choice: success and latency of a frozen policy when a critic picks one of several chunks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from robolearn.bench._rl_problems import OWN, Base
from robolearn.bench._rl_runs import TRAINING, act_ms, judge, prepare
from robolearn.bench._rl_runs import folder_of as base_folder
from robolearn.bench._verbs import collect, finetune, told_to
from robolearn.eval.metrics import SuccessRate
from robolearn.eval.results import Measure

SUMMARY = "success and latency with 1, 4 and 16 candidates that an offline critic scores (fifteen minutes; resumes)"
SEEDS = (0,)
TASK, BASE = "pick_place", OWN
EPISODES = 300  # of the base policy itself, successes and failures, to learn values from
CANDIDATES = (1, 4, 16)
WORDS: tuple[str, ...] = ()  # further options of the critic's training
OUT = Path("outputs/bench/guided")


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Let the base policy act, learn values from what came of it, and let them choose.

    No control steps are taken after the base's own episodes. One candidate is the base itself, its baseline. Success is
    on seeds that neither the demonstrations nor the base's episodes nor the critic's evaluations had.
    """
    progress(f"{TASK}: base {prepare(TASK, BASE)['success']:.2f}")
    with told_to(OUT / "log.txt"):
        solved = _act(TASK, BASE)
        progress(f"{solved} of {EPISODES} episodes of the base were solved")
        _learn(TASK, BASE)
    rates, times = {}, {}
    for count in CANDIDATES:
        rates[count] = SuccessRate.of(judge(TASK, OUT / TRAINING, candidates=count))
        times[count] = act_ms(TASK, OUT / TRAINING, candidates=count)
        progress(f"{count} candidates: {rates[count]}")
    alone, time_alone = rates[CANDIDATES[0]], times[CANDIDATES[0]]
    return [
        *(Measure(f"success.candidates_{n}", r.rate, "1", alone.rate, r.interval) for n, r in rates.items()),
        *(Measure(f"act_ms.candidates_{n}", t["mean"], "ms", time_alone["mean"]) for n, t in times.items()),
        *(Measure(f"plan_ms.candidates_{n}", t["p99"], "ms", time_alone["p99"]) for n, t in times.items()),
        Measure("episodes", EPISODES, "1"),
        Measure("episodes_solved", solved / EPISODES, "1"),
    ]


def _act(task: str, base: Base) -> int:
    """Collect episodes of the base; return how many were solved."""
    checkpoint = f"expert.checkpoint={base_folder(task, base) / TRAINING}"
    words = (f"task={task}", "expert=policy", checkpoint, "env.num_envs=50")
    # seeds beyond those of the demonstrations
    quality = collect(words, num_episodes=EPISODES, seed=100_000, out=OUT / "episodes", success_only=False)
    return quality.success.successes


def _learn(task: str, base: Base) -> None:
    words = (f"task={task}", "algo=value_guided", *WORDS)
    checkpoint, dataset = base_folder(task, base) / TRAINING, OUT / "episodes"
    finetune(words, checkpoint=checkpoint, dataset=dataset, seed=SEEDS[0], out=OUT / TRAINING)
