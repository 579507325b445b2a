"""From an observation to the command that follows from it: the control node, and LeRobot's asynchronous inference."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from robolearn.bench._control_rig import simulated_session
from robolearn.bench._verbs import demonstrate, export, told_to
from robolearn.bench.control import DEMONSTRATIONS, TASK
from robolearn.eval.results import Measure, Result, provenance

SUMMARY = "from observation to command, by stage, beside LeRobot's asynchronous inference (minutes)"
SEEDS = (0,)  # of the policy's weights and of the episode
OUT = Path("outputs/bench/latency")
TRAIN = ("train.steps=1000", "train.batch_size=32", "train.learning_rate=3e-4", "train.tensorboard=false")
ROUNDS, SECONDS = 3, 20.0
FIGURES = {"p50": 50, "p99": 99}
Samples = dict[str, list[float]]  # ms by stage


def run(progress: Callable[[str], None], *, rounds: int = ROUNDS, seconds: float = SECONDS) -> list[Measure]:
    """Let both move a simulated arm in turn for a while with the same ACT policy of LeRobot, and compare their times.

    Ours is its bundle in the control node, on an arm through ROS 2; theirs its checkpoint in LeRobot's `PolicyServer`
    with its `RobotClient`, on an arm in the client's own process. Both run at 20 control steps per second, chunks of 16
    actions. An observation counts where a chunk was inferred for it and executed. Stages are

    - observation: how old it is when it goes to inference;
    - transport: from there to inference and back, waiting included;
    - inference: with the processing before and after;
    - command: from then until the first of its actions goes to the arm.

    LeRobot's server is told not to wait until its usual thirtieth of a second is over. The first chunk of each turn
    does not count, for LeRobot's server does not warm up.

    Args:
        progress: told of every turn.
        rounds: turns of each.
        seconds: of a turn.
    """
    bundle, checkpoint = prepare()
    sides: dict[str, Samples] = {"node": {}, "lerobot": {}}
    for i in range(rounds):
        for side, found in (("node", _node(bundle, seconds)), ("lerobot", _lerobot(checkpoint, seconds))):
            for stage, values in found.items():
                sides[side].setdefault(stage, []).extend(values[1:])  # the first of a process is slow
            progress(f"{i + 1}/{rounds}: {side} from {len(found['latency'])} observations")
    return list(_measures(sides))


def prepare() -> tuple[Path, Path]:
    """Train and export the policy, unless that is done; return bundle and checkpoint for LeRobot's server."""
    from robolearn.bench._policy_runs import train_lerobot
    from robolearn.commands.common import claim
    from robolearn.compose import build, compose

    data, trained, bundle = OUT / "demonstrations", OUT / "act", OUT / "bundle"
    policy = trained / "policy"
    OUT.mkdir(parents=True, exist_ok=True)
    claim(OUT, {"task": TASK, "demonstrations": DEMONSTRATIONS, "train": list(TRAIN)})
    if not bundle.exists():
        config = build("train", compose("train", [f"dataset={data}", "train.device=cpu", *TRAIN]))
        with told_to(OUT / "log.txt"):
            demonstrate(TASK, num_episodes=DEMONSTRATIONS, out=data)
            train_lerobot("act", config.train, data, seed=SEEDS[0], out=trained)
            export(TASK, checkpoint=policy, out=bundle)
    return bundle, _for_server(policy)


def _for_server(checkpoint: Path) -> Path:
    """A copy whose processors first cut the channels out of the one vector that LeRobot's client sends."""
    from lerobot.policies import make_pre_post_processors

    from robolearn.policies.lerobot_adapter.checkpoint import read_config
    from robolearn.policies.lerobot_processors import SplitStateStep
    from robolearn.policies.serving import SCHEMA
    from robolearn.schema import Schema

    out = checkpoint.with_name("policy_for_server")
    if not out.exists():
        shutil.copytree(checkpoint, out)
        schema = Schema.load(checkpoint / SCHEMA)
        before, _ = make_pre_post_processors(read_config(checkpoint), str(checkpoint))
        before.steps = [SplitStateStep({key: schema[key].shape[0] for key in schema.observation_keys}), *before.steps]
        before.save_pretrained(out)
    return out


def _node(bundle: Path, seconds: float) -> Samples:
    from robolearn.real.statistics import STAGES

    session = simulated_session(bundle, task=TASK, out=OUT / "node")
    with session:
        loop = session.keep_on(SEEDS[0], seconds=seconds)
    stages: Samples = {stage: loop[f"{stage}_ms"] for stage in STAGES}
    return {**stages, "latency": [sum(parts) for parts in zip(*stages.values(), strict=True)]}


def _lerobot(checkpoint: Path, seconds: float) -> Samples:
    from robolearn.bench._policy_runs import HORIZON

    out = (OUT / "lerobot.json").resolve()
    words = {"--policy": checkpoint.resolve(), "--task": TASK, "--chunk": HORIZON, "--seconds": seconds, "--out": out}
    flat = [str(text) for pair in words.items() for text in pair]
    module = [sys.executable, "-m", "robolearn.bench._lerobot_async"]
    with (OUT / "lerobot.txt").open("w") as log:
        # LeRobot's modules make a folder `logs` where they are imported
        subprocess.run([*module, *flat], cwd=OUT, stdout=log, stderr=subprocess.STDOUT, check=True)
    found: Sequence[Mapping[str, float]] = json.loads(out.read_text())["stages_ms"]
    return {stage: [one[stage] for one in found] for stage in found[0]}


def _measures(sides: Mapping[str, Samples]) -> Sequence[Measure]:
    import numpy as np

    measures = []
    for stage in sides["node"]:
        for figure, share in FIGURES.items():
            ours, theirs = (float(np.percentile(sides[side][stage], share)) for side in ("node", "lerobot"))
            measures.append(Measure(f"{stage}_ms.{figure}", ours, "ms", theirs))
    counts = (float(len(sides[side]["latency"])) for side in ("node", "lerobot"))
    return [*measures, Measure("observations", next(counts), "1", next(counts))]


def table(result: Result) -> str:
    """Return a table for the documents: one row for each stage."""
    values: dict[str, Any] = {m.id: m for m in result.measures}
    lines = ["| Stage | Node: p50, p99 | LeRobot: p50, p99 | ratio of p50 |", "|---|---:|---:|---:|"]
    for stage in ("observation", "transport", "inference", "command", "latency"):
        low, high = (values[f"{stage}_ms.{figure}"] for figure in FIGURES)
        ratio = "" if low.ratio is None else f"{low.ratio:.2f}x"
        ours, theirs = f"{low.value:.1f}, {high.value:.1f} ms", f"{low.baseline:.1f}, {high.baseline:.1f} ms"
        name = "**observation to command**" if stage == "latency" else stage
        lines.append(f"| {name} | {ours} | {theirs} | {ratio} |")
    return "\n".join(lines) + "\n\n" + provenance(result) + "\n"
