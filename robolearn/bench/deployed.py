"""Success of a policy through ROS 2 next to the same policy in the simulator's own loop, when inference is late."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from robolearn.bench._pool import RECORDS, kept, narrow, origin
from robolearn.bench._verbs import trained_bundle
from robolearn.eval.metrics import SuccessRate
from robolearn.eval.results import Measure, Result, provenance
from robolearn.execution import Execution

SUMMARY = "success through ROS 2 at 0, 50 and 100 ms of added latency, by how chunks are executed (hours; resumes)"
SEEDS = (0,)  # of data and policy
TASKS = ("pick_place", "stack")
MODES = ("sequential", "rtc", "blending", "ensembling")
DELAYS_MS = (0, 50, 100)
EPISODES = 50
DEMONSTRATIONS = 100
TRAIN = ("policy=flow", "train.steps=3000")
IN_PROCESS = "in_process"
OUT = Path("outputs/bench/deployed")


class Run(NamedTuple):
    """One way of execution on a task; `mode` may be `IN_PROCESS`."""

    task: str
    mode: str
    delay: int

    @property
    def name(self) -> str:
        """Of files and measures."""
        return f"{self.task}.{self.mode}" + ("" if self.mode == IN_PROCESS else f".{self.delay}")

    @property
    def record(self) -> Path:
        """Where its result is kept."""
        return RECORDS / "deployed" / f"{self.name}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on."""
        return {
            **self._asdict(),
            "execution": None if self.mode == IN_PROCESS else asdict(self.execution),
            "episodes": EPISODES,
            "demonstrations": DEMONSTRATIONS,
            "train": list(TRAIN),
        }

    @property
    def execution(self) -> Execution:
        """How chunks are executed."""
        return Execution(execution=self.mode, inference_delay=self.delay / 1e3)

    @property
    def seed(self) -> int:
        """Of data and policy."""
        return SEEDS[0]


RUNS = tuple(
    Run(task, mode, delay)
    for task in TASKS
    for mode, delay in ((IN_PROCESS, 0), *((mode, delay) for delay in DELAYS_MS for mode in MODES))
)


def run(
    progress: Callable[[str], None], *, tasks: Sequence[str] | None = None, modes: Sequence[str] | None = None
) -> list[Measure]:
    """Run the same 50 episodes in each way; finished ways are kept, and finished episodes of the others.

    A policy of ours for each task is trained on 100 demonstrations and exported. In process it acts in the simulator's
    own loop, which waits for it. Through ROS 2 arm, control node and inference are processes of their own in real time,
    and each inference takes some milliseconds longer. The machine must be quiet.

    Args:
        progress: told of every way.
        tasks: only these.
        modes: only these of `in_process`, `sequential`, `rtc`, `blending`, `ensembling`.

    Raises:
        UserError: an unknown name, or ROS 2 is missing.
    """
    from robolearn.commands.common import save_result

    wanted = narrow("deployed", RUNS, ("task", "task", tasks), ("mode", "mode", modes), seeds=None, offered=SEEDS)
    for i, one in enumerate(wanted):
        if kept(one) is None:
            bundle = prepare(one.task)
            found = _in_process(one.task) if one.mode == IN_PROCESS else _deployed(one, bundle)
            save_result(one.record, {"settings": one.settings, **origin(), **found})
        progress(f"{i + 1}/{len(wanted)}: {one.name}: {SuccessRate.of((kept(one) or {})['outcomes'])}")
    finished = {one: result for one in RUNS if (result := kept(one)) is not None}
    return [measure for one, result in finished.items() for measure in _measures(one, result, finished)]


def prepare(task: str) -> Path:
    """Train and export a task's policy, unless that is done; return the bundle."""
    return trained_bundle(task, TRAIN, num_episodes=DEMONSTRATIONS, out=OUT / task)


def _seeds() -> range:
    from robolearn.commands.common import REPORT_SEED

    return range(REPORT_SEED, REPORT_SEED + EPISODES)


def _in_process(task: str) -> dict[str, Any]:
    from robolearn.commands.common import evaluate, policy_actor
    from robolearn.commands.worlds import make_env
    from robolearn.compose import build, compose
    from robolearn.policies.serving import load_policy

    words = [f"task={task}", f"env.num_envs={EPISODES}", "env.threads=1", "checkpoint=none"]
    config = build("eval", compose("eval", words))
    env = make_env(config.task, config.robot, config.env)
    try:
        policy = load_policy(OUT / task / "policy")
        episodes = evaluate(env, policy_actor(env, policy), first_seed=_seeds()[0], episodes=EPISODES)
    finally:
        env.close()
    return {"outcomes": [episode.success for episode in episodes]}


def _deployed(one: Run, bundle: Path) -> dict[str, Any]:
    from robolearn.commands.common import claim
    from robolearn.real.ros2.episodes import run_episodes

    out = OUT / "episodes" / one.name
    out.mkdir(parents=True, exist_ok=True)
    claim(out, one.settings)
    result = run_episodes(bundle, seeds=_seeds(), out=out, execution=one.execution)
    loop = result["loop"]
    kept_figures = ("ticks", "late_chunks", "holds", "missed_periods", "smoothness", "latency_ms")
    return {
        "outcomes": [episode["success"] for episode in result["episodes"]],
        "loop": {name: loop[name] for name in kept_figures},
    }


def _measures(one: Run, result: Mapping[str, Any], finished: Mapping[Run, Mapping[str, Any]]) -> Iterator[Measure]:
    import numpy as np

    rate = SuccessRate.of(result["outcomes"])
    plain = finished.get(Run(one.task, IN_PROCESS, 0))
    baseline = None if plain is None or one.mode == IN_PROCESS else SuccessRate.of(plain["outcomes"]).rate
    yield Measure(f"success.{one.name}", rate.rate, "1", baseline, rate.interval)
    if "loop" not in result:
        return
    loop = result["loop"]
    yield Measure(f"late_share.{one.name}", loop["late_chunks"] / max(loop["ticks"], 1), "1")
    smooth = loop["smoothness"]
    yield Measure(f"rms_jerk.{one.name}", float(np.sqrt(np.mean(np.square(smooth["rms_jerk"])))), "rad/s^3")
    if smooth["boundary_jump"]["rms"] is not None:
        within = smooth["within_jump"]["rms"]
        yield Measure(f"boundary_jump.{one.name}", smooth["boundary_jump"]["rms"], "rad/s", within)


def table(result: Result) -> str:
    """Return a table for the documents: one row for each task and way."""
    values = {m.id: m for m in result.measures}
    lines = [
        "| Task, execution | Added latency | Success (95 %) | In process | Jump at a chunk's begin (within) | Jerk |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for one in RUNS:
        if one.mode == IN_PROCESS or (success := values.get(f"success.{one.name}")) is None:
            continue
        assert success.interval is not None, "a success rate has one"
        low, high = success.interval
        plain = "" if success.baseline is None else f"{success.baseline:.2f}"
        jump, jerk = values.get(f"boundary_jump.{one.name}"), values[f"rms_jerk.{one.name}"]
        jumps = "" if jump is None else f"{jump.value:.3f} ({jump.baseline or 0:.3f}) rad/s"
        lines.append(
            f"| `{one.task}`, {one.mode} | {one.delay} ms | {success.value:.2f} [{low:.2f}, {high:.2f}] | {plain} | "
            f"{jumps} | {jerk.value:.0f} rad/s³ |"
        )
    return "\n".join(lines) + "\n\n" + provenance(result) + "\n"
