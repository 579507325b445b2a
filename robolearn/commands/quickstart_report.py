"""The quickstart's report from the results of its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.commands.common import progress
from robolearn.commands.strips import draw
from robolearn.commands.worlds import make_env
from robolearn.config import QuickstartConfig, ResidualConfig
from robolearn.eval.charts import Chart, Histogram, Series
from robolearn.eval.machine import commit, machine
from robolearn.eval.metrics import SuccessRate, compare_paired, wilson_interval
from robolearn.eval.report import Duration, LoopStatistics, Report, Row, Strip

Results = Mapping[str, dict[str, Any]]
NAMES = {
    "expert": ("expert (with noise)", "scripted; its successes are the demonstrations"),
    "base": ("base policy", "flow matching on the demonstrations"),
    "finetuned": ("fine-tuned policy", "residual off-policy RL on sparse reward"),
    "deploy": ("deployed through ROS 2", "the exported bundle on the simulated arm, first seeds of the same list"),
}
RECORD_RATE = 10.0  # Hz of the simulated arm's recordings


def build_report(config: QuickstartConfig, out: Path, results: Results) -> Report:
    """Assemble the report of a finished run in `out`."""
    loop = results["deploy"]["loop"]
    gain = compare_paired(_outcomes(results["base"]), _outcomes(results["finetuned"]))
    return Report(
        title=f"robolearn quickstart: {config.task.name}, seed {config.seed}",
        summary=_summary(config),
        rows=[Row(*_named(key, results[key])) for key in NAMES],
        findings=[
            f"Fine-tuned against base, same seeds: {gain}",
            f"Largest difference between the policy and its bundle: {results['export']['difference']:.1e} "
            "of the action's half range.",
        ],
        charts=[_training_curve(results["train"]), _finetuning_curve(config, results["finetune"])],
        strips=list(_strips(config, out)),
        histograms=[_latency(results["deploy"])],
        loops=[
            LoopStatistics(
                name="control loop of the ROS 2 node",
                cycles=loop["periods"],
                period_ms=1e3 / config.deploy.control_rate,
                p50_ms=loop["lateness_ms"]["p50"],
                p99_ms=loop["lateness_ms"]["p99"],
                max_ms=loop["lateness_ms"]["max"],
                missed=loop["missed_periods"],
            )
        ],
        durations=[Duration(name, result["seconds"]) for name, result in results.items()],
        environment={**machine(), "commit": commit(), "seed": str(config.seed), "command": _command(config)},
        configuration=(out / "config.yaml").read_text(),
    )


def _summary(config: QuickstartConfig) -> str:
    assert isinstance(config.algo, ResidualConfig)
    text = (
        f"{config.num_demos} noisy demonstrations, {config.train.steps} gradient steps of flow matching, then at most "
        f"{config.algo.total_steps} control steps of residual RL. Success on seeds that training never saw."
    )
    return f"Toy budgets (--fast): a smoke test, the figures mean nothing. {text}" if config.fast else text


def _command(config: QuickstartConfig) -> str:
    return f"robolearn quickstart{' --fast' if config.fast else ''} seed={config.seed}"


def _outcomes(result: Mapping[str, Any]) -> list[bool]:
    return [episode["success"] for episode in result["episodes"]]


def _named(key: str, result: Mapping[str, Any]) -> tuple[str, SuccessRate, str]:
    name, note = NAMES[key]
    return name, SuccessRate.of(_outcomes(result)), note


def _training_curve(result: Mapping[str, Any]) -> Chart:
    steps, losses = zip(*result["curve"], strict=True) if result["curve"] else ((), ())
    return Chart("Flow matching", "gradient steps", "loss", [Series("training loss", steps, losses)])


def _finetuning_curve(config: QuickstartConfig, result: Mapping[str, Any]) -> Chart:
    x = [point["steps"] for point in result["curve"]]
    y = [point["success"] for point in result["curve"]]
    assert isinstance(config.algo, ResidualConfig)
    n = config.algo.eval_episodes
    low, high = zip(*(wilson_interval(round(rate * n), n) for rate in y), strict=True)
    note = f"{n} episodes a point, with 95 % Wilson interval; these seeds decide when to stop, not what is reported."
    return Chart("Residual RL", "control steps", "success", [Series("success", x, y, low, high)], note, (0, 1))


def _latency(result: Mapping[str, Any]) -> Histogram:
    values = np.concatenate([np.asarray(e["loop"]["latency_ms"], float) for e in result["episodes"]])
    return Histogram(
        "Command latency", "ms from an observation's stamp to the first command that uses it", values.tolist()
    )


def _strips(config: QuickstartConfig, out: Path) -> Iterator[Strip]:
    from robolearn.sim.pictures import png_data_uri

    env = make_env(config.task, config.robot, config.env, num_envs=1)
    shown = list(_shown(out))
    with progress("draw", len(shown)) as advance:
        for file, dt, caption in shown:
            data = np.load(file, allow_pickle=False)
            yield Strip(png_data_uri(draw(env, data["pose"], data["stage"], dt)), caption)
            advance(1)
    env.close()


def _shown(out: Path) -> Iterator[tuple[Path, float | None, str]]:
    """Recording, s between its frames (None: a control step) and caption of each film strip."""
    for name in ("expert", "base", "finetuned"):
        for outcome in ("success", "failure"):
            for file in sorted((out / "episodes").glob(f"{name}_{outcome}_*.npz"))[:1]:
                yield file, None, f"{NAMES[name][0]}: {outcome}"
    deployed = sorted((out / "deploy" / "trajectories").glob("episode_*.npz"))
    for wanted, outcome in ((True, "success"), (False, "failure")):
        for file in [f for f in deployed if _succeeded(f) is wanted][:1]:
            yield file, 1 / RECORD_RATE, f"{NAMES['deploy'][0]}: {outcome}"


def _succeeded(recording: Path) -> bool:
    return bool(np.load(recording, allow_pickle=False)["success"][-1])
