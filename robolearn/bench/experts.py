"""The scripted experts: success on every task with every robot that has its reach."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robolearn.commands.common import REPORT_SEED, evaluate, read_result, save_result
from robolearn.commands.experts import make_expert
from robolearn.commands.worlds import make_env
from robolearn.errors import UserError
from robolearn.eval.machine import commit
from robolearn.eval.metrics import SuccessRate
from robolearn.eval.results import Measure

SUMMARY = "success of the scripted expert without noise, every task and robot, 200 new seeds each (two minutes)"
SEEDS = (REPORT_SEED,)  # of the first episode; nobody tuned an expert on these

EPISODES = 200
NUM_ENVS = 100
OUT = Path("outputs/bench/experts")


def run(progress: Callable[[str], None]) -> list[Measure]:
    """Run every pair of task and robot; those that this commit has finished are taken from `outputs/bench/experts`.

    The measure of a pair is the success rate with its 95 % Wilson interval.
    A robot without the reach of a task has none; the line of progress says why.
    """
    from robolearn.sim.robots import ROBOTS
    from robolearn.sim.tasks import TASKS

    measures = []
    for task in TASKS:
        for robot in ROBOTS:
            reason = out_of_reach(task, robot)
            if reason is not None:
                progress(f"{task}, {robot}: left out: {reason}")
                continue
            result = finish(task, robot)
            rate = SuccessRate.of(result["outcomes"])
            progress(f"{task}, {robot}: {rate}")
            measures.append(Measure(f"success.{task}.{robot}", rate.rate, "1", None, rate.interval))
    return measures


def out_of_reach(task: str, robot: str) -> str | None:
    """Why a robot cannot do a task, or None where it can."""
    from robolearn.sim.homes import home_joints
    from robolearn.sim.robots import get_robot
    from robolearn.sim.scene import check_reach
    from robolearn.sim.tasks import make_task

    try:
        check_reach(make_task(task), get_robot(robot))
        home_joints(make_task(task), get_robot(robot))
    except UserError as error:
        return str(error)
    return None


def finish(task: str, robot: str) -> dict[str, Any]:
    """Outcome of every episode of a pair, simulated unless this commit has done so."""
    path = OUT / f"{task}.{robot}.json"
    settings = {"commit": commit(), "first_seed": SEEDS[0], "episodes": EPISODES}
    kept = read_result(path)
    if kept is not None and {key: kept.get(key) for key in settings} == settings:
        return kept
    result = {**settings, **_simulate(task, robot)}
    save_result(path, result)
    return result


def _simulate(task: str, robot: str) -> dict[str, Any]:
    from robolearn.compose import build, compose

    size = (f"env.num_envs={min(NUM_ENVS, EPISODES)}", f"env.threads={os.cpu_count() or 1}")
    config = build("collect", compose("collect", [f"task={task}", f"robot={robot}", *size]))
    env = make_env(config.task, config.robot, config.env)
    try:
        episodes = evaluate(env, make_expert(env, config.expert), first_seed=SEEDS[0], episodes=EPISODES)
    finally:
        env.close()
    return {"outcomes": [episode.success for episode in episodes]}
