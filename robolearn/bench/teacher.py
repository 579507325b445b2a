"""Demonstrations of a PPO teacher beside those of the script: success, length, smoothness, readable by LeRobot."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from robolearn.config import CollectConfig, TeachConfig
from robolearn.eval.results import Measure

if TYPE_CHECKING:
    from robolearn.eval.quality import Quality

SUMMARY = "datasets of `lift` by a PPO teacher and by the script: success, length, smoothness (about five minutes)"
SEEDS = (0,)
TASK = "lift"
BUDGET = 2_000_000  # control steps that the teacher's training may take
EPISODES = 200
OUT = Path("outputs/bench/teacher")


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Train the teacher, or take it from `outputs`; collect with both from the same seeds, failures included.

    The baseline of each measure is the script's. Both datasets are opened and read with LeRobot.
    """
    from robolearn.commands.teach import teach
    from robolearn.compose import build, compose

    # an object that can be grasped from above needs no privilege
    words = [f"task={TASK}", "privilege=none", "ppo.reward=dense", f"ppo.total_steps={BUDGET}"]
    config: TeachConfig = build("teach", compose("teach", [*words, f"out={OUT / 'training'}"]))
    settings = (config.task, config.robot, config.env, config.ppo, config.privilege)
    curve = teach(*settings, seed=config.seed, out=OUT / "training", label="teach")
    progress(f"teacher: success {max(p['success'] for p in curve):.2f} after {curve[-1]['steps']:,.0f} control steps")
    teacher = _collect(progress, "teacher", f"expert.checkpoint={OUT / 'training'}")
    script = _collect(progress, "scripted")
    return _measures(teacher, script)


def _collect(progress: Callable[[str], None], expert: str, *words: str) -> Quality:
    from robolearn.commands.attempts import Scenario
    from robolearn.commands.collect import collect
    from robolearn.compose import build, compose

    out = OUT / expert
    shutil.rmtree(out, ignore_errors=True)  # of another teacher perhaps
    words = (f"task={TASK}", f"expert={expert}", f"num_episodes={EPISODES}", "success_only=false", *words)
    config: CollectConfig = build("collect", compose("collect", list(words)))
    scenario = Scenario(config.task, config.robot, config.env, config.expert)
    quality = collect(scenario, num_episodes=EPISODES, seed=config.seed, out=out, success_only=False)
    frames = count_frames(out)
    progress(f"{expert}: {quality}; LeRobot reads {frames} frames")
    return quality


def count_frames(folder: Path) -> int:
    """Read every frame of a dataset with LeRobot; return how many there are."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    data = LeRobotDataset("local/demonstrations", root=folder)
    rows = data.hf_dataset.with_format(None)
    return sum(1 for row in rows if len(row["action"]) > 0)


def _measures(teacher: Quality, script: Quality) -> list[Measure]:
    measures = [
        Measure(f"success.{TASK}", teacher.success.rate, "1", script.success.rate, teacher.success.interval),
        Measure(f"control_steps.{TASK}", teacher.mean_length, "1", script.mean_length),
    ]
    for name, unit in (("joint_jerk", "rad^2/s^6"), ("tool_jerk", "m^2/s^6")):
        ours, theirs = getattr(teacher, name), getattr(script, name)
        if ours is not None and theirs is not None:
            measures.append(Measure(f"{name}.{TASK}", ours, unit, theirs))
    return measures
