"""`robolearn quickstart`: the whole way from nothing to an arm controlled through ROS 2; killed, it resumes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from robolearn.commands.attempts import Scenario
from robolearn.commands.collect import collect
from robolearn.commands.common import (
    REPORT_SEED,
    console,
    evaluate,
    load_checkpoint,
    policy_actor,
    read_result,
    save_result,
    use_one_thread,
)
from robolearn.commands.deploy import deploy
from robolearn.commands.experts import make_expert
from robolearn.commands.export import export
from robolearn.commands.finetune import finetune
from robolearn.commands.quickstart_report import build_report
from robolearn.commands.train import train
from robolearn.commands.worlds import make_env
from robolearn.config import QuickstartConfig, ResidualConfig
from robolearn.errors import UserError
from robolearn.eval.machine import commit
from robolearn.eval.report import print_table, write_report

SEEDS_PER_RUN = 100_000  # demonstrations of run s start from seed s times this
KEPT = 2  # episodes of each outcome whose states are kept for film strips
Step = Callable[[], dict[str, Any]]


def run(config: QuickstartConfig) -> None:
    """Do every step that has no result yet, then write `report.html` and print its table."""
    from robolearn.real.ros2.availability import require_rclpy

    if not isinstance(config.algo, ResidualConfig):
        raise UserError("the quickstart is about residual RL: take algo=residual, or `robolearn finetune` for others")
    require_rclpy()  # now, not after all the learning
    job = Quickstart(config)
    for name, step in job.steps.items():
        job.do(name, step)
    report = build_report(config, job.out, job.results)
    write_report(job.out / "report.html", report)
    print_table(report.rows, console)
    console.print(f"report: {job.out / 'report.html'}")


class Quickstart:
    """One run's folder, its steps and their results."""

    def __init__(self, config: QuickstartConfig) -> None:
        """Open the run's folder.

        Raises:
            UserError: the folder is of a run with another configuration.
        """
        name = config.run if config.run is not None else f"{config.task.name}-seed{config.seed}{_suffix(config)}"
        self.config, self.out = config, Path(config.out) / name
        self.yaml = OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config)))
        self._open()
        self.results: dict[str, dict[str, Any]] = {}
        self.steps: dict[str, Step] = {
            "collect": self._collect,
            "expert": self._expert,
            "train": self._train,
            "base": lambda: self._evaluate(self.out / "base" / "policy"),
            "finetune": self._finetune,
            "finetuned": lambda: self._evaluate(self.out / "finetuned" / "policy"),
            "export": self._export,
            "deploy": self._deploy,
        }

    def _open(self) -> None:
        if self.config.fresh and (self.out / "config.yaml").exists():
            shutil.rmtree(self.out)
        self.out.mkdir(parents=True, exist_ok=True)
        kept = self.out / "config.yaml"
        if kept.exists() and _identity(kept.read_text()) != _identity(self.yaml):
            raise UserError(
                f"{self.out} holds a run with another configuration: "
                "add fresh=true to replace it, or run=NAME to keep it"
            )
        kept.write_text(self.yaml)

    def do(self, name: str, step: Step) -> None:
        """Run a step unless it has a result, and keep how long it took."""
        path = self.out / "results" / f"{name}.json"
        result = read_result(path)
        if result is None:
            spent = self.out / "results" / f".{name}.seconds"
            began = time.perf_counter() - (float(spent.read_text()) if spent.exists() else 0.0)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                result = step()
            finally:
                spent.write_text(str(time.perf_counter() - began))
            save_result(path, {**result, "seconds": time.perf_counter() - began, "commit": commit()})
            spent.unlink()
        self.results[name] = read_result(path) or {}

    def _collect(self) -> dict[str, Any]:
        c = self.config
        scenario = Scenario(c.task, c.robot, c.env, c.expert)
        seed, out = c.seed * SEEDS_PER_RUN, self.out / "demos"
        return collect(scenario, num_episodes=c.num_demos, seed=seed, out=out).to_dict()

    def _expert(self) -> dict[str, Any]:
        env = make_env(self.config.task, self.config.robot, self.config.env)
        return self._measure(env, make_expert(env, self.config.expert), "expert")

    def _train(self) -> dict[str, Any]:
        c = self.config
        return train(c.policy, c.train, dataset=self.out / "demos", seed=c.seed, out=self.out / "base")

    def _finetune(self) -> dict[str, Any]:
        c = self.config
        curve = finetune(
            c.task,
            c.robot,
            c.env,
            c.algo,
            checkpoint=self.out / "base" / "policy",
            dataset=self.out / "demos",
            seed=c.seed,
            out=self.out / "finetuned",
        )
        return {"curve": curve}

    def _evaluate(self, checkpoint: Path) -> dict[str, Any]:
        use_one_thread()
        env = make_env(self.config.task, self.config.robot, self.config.env)
        policy, correction = load_checkpoint(checkpoint)
        return self._measure(env, policy_actor(env, policy, correction), checkpoint.parent.name)

    def _measure(self, env: Any, actor: Any, name: str) -> dict[str, Any]:
        episodes = evaluate(
            env, actor, first_seed=REPORT_SEED, episodes=self.config.eval_episodes, label=f"eval {name}", record=True
        )
        for wanted in (True, False):
            for episode in [e for e in episodes if e.success is wanted][:KEPT]:
                file = self.out / "episodes" / f"{name}_{'success' if wanted else 'failure'}_{episode.seed}.npz"
                file.parent.mkdir(exist_ok=True)
                frames = episode.frames
                np.savez_compressed(file, pose=frames["pose"], stage=frames["observation.stage"])
        env.close()
        return {"episodes": [{"seed": e.seed, "success": e.success, "length": e.length} for e in episodes]}

    def _export(self) -> dict[str, Any]:
        c = self.config
        rates = {name: _rate(self.results[name]) for name in ("expert", "base", "finetuned")}
        difference = export(
            c.task,
            c.robot,
            checkpoint=self.out / "finetuned" / "policy",
            out=self.out / "bundle",
            config_yaml=self.yaml,
            notes={"success": rates, "demonstrations": c.num_demos, "seed": c.seed},
        )
        console.print(f"bundle written; largest difference from the policy {difference:.1e}")
        return {"difference": difference}

    def _deploy(self) -> dict[str, Any]:
        return deploy(self.config.deploy, bundle=self.out / "bundle", first_seed=REPORT_SEED, out=self.out / "deploy")


def _suffix(config: QuickstartConfig) -> str:
    return "-fast" if config.fast else ""


def _identity(yaml: str) -> str:
    """What must not change between a run and its resumption: everything but where and whether to begin anew."""
    data: Any = OmegaConf.to_container(OmegaConf.create(yaml))
    for key in ("fresh", "out", "run"):
        data.pop(key, None)
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _rate(result: dict[str, Any]) -> str:
    episodes = result["episodes"]
    return f"{sum(e['success'] for e in episodes)}/{len(episodes)}"
