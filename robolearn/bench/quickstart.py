"""The quickstart over several seeds: does it learn, and does what it learned run through ROS 2?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robolearn.eval.metrics import SuccessRate
from robolearn.eval.results import Measure

SUMMARY = "success of base, fine-tuned and deployed policy over three seeds of the quickstart (half an hour)"
SEEDS = (0, 1, 2)


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Run the quickstart of every seed, or take the runs that are finished in `outputs/quickstart`."""
    measures = []
    for seed in SEEDS:
        results = _results(seed)
        base, tuned, deployed = (_rate(results[name]) for name in ("base", "finetuned", "deploy"))
        made_by = ", ".join(sorted({result.get("commit", "unknown") for result in results.values()}))
        progress(f"seed {seed}: base {base}, fine-tuned {tuned}, deployed {deployed}; run of commit {made_by}")
        loop = results["deploy"]["loop"]
        shared = {episode["seed"] for episode in results["deploy"]["episodes"]}
        base_there = _rate({"episodes": [e for e in results["base"]["episodes"] if e["seed"] in shared]})
        measures += [
            Measure(f"success.finetuned.seed{seed}", tuned.rate, "1", base.rate, tuned.interval),
            Measure(f"success.deployed.seed{seed}", deployed.rate, "1", base_there.rate, deployed.interval),
            Measure(f"wall_time.seed{seed}", sum(r["seconds"] for r in results.values()), "s"),
            Measure(f"lateness.p50.seed{seed}", loop["lateness_ms"]["p50"], "ms"),
            Measure(f"lateness.p99.seed{seed}", loop["lateness_ms"]["p99"], "ms"),
            Measure(f"missed_periods.seed{seed}", loop["missed_periods"] / loop["periods"], "1"),
        ]
    return measures


def _results(seed: int) -> dict[str, dict[str, Any]]:
    from robolearn.commands.quickstart import run as quickstart
    from robolearn.compose import build, compose

    config = build("quickstart", compose("quickstart", [f"seed={seed}"]))
    quickstart(config)
    folder = Path(config.out) / f"{config.task.name}-seed{seed}" / "results"
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def _rate(result: dict[str, Any]) -> SuccessRate:
    return SuccessRate.of([episode["success"] for episode in result["episodes"]])
