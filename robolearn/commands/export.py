"""`robolearn export`: a policy as a bundle that the control node loads without torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from robolearn.commands.common import console, load_base, policy_folder
from robolearn.config import ExportConfig, RobotConfig, TaskConfig
from robolearn.inpainting import FLOWS
from robolearn.language import TASK

if TYPE_CHECKING:
    from robolearn.acting import Acting

TOLERANCE = 1e-4  # largest difference between policy and bundle, as a share of the action's half range
SAMPLES = 64


def run(config: ExportConfig) -> None:
    """Export, check, and say what was written."""
    difference = export(
        config.task,
        config.robot,
        checkpoint=Path(config.checkpoint),
        out=Path(config.out),
        config_yaml=OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(config))),
        notes={},
        rtc=config.rtc,
        monitor=None if config.monitor is None else Path(config.monitor),
    )
    console.print(f"bundle in {config.out}; largest difference from the policy {difference:.1e}")


def export(
    task: TaskConfig,
    robot: RobotConfig,
    *,
    checkpoint: Path,
    out: Path,
    config_yaml: str,
    notes: dict[str, Any],
    rtc: bool = True,
    monitor: Path | None = None,
) -> float:
    """Write the bundle of a checkpoint and return its largest difference from the policy, with the same noise.

    Args:
        task: that the policy is for.
        robot: that it moves.
        checkpoint: folder of the policy, with or without what fine-tuning put on top of it.
        out: folder of the bundle.
        config_yaml: the resolved configuration to keep in it.
        notes: provenance to keep in it, e.g. success rates.
        rtc: whether a flow gets the graph for exact real-time chunking.
        monitor: folder of the reward model that watches the arm, or None.

    Raises:
        UserError: the policy is of another robot or task, or the reward model reads something else, or the bundle
            differs from them.
    """
    from robolearn.commands.export_monitor import check_monitor, load_watching
    from robolearn.eval.machine import commit
    from robolearn.export.bundle import check_correction_parity, check_parity, export_bundle
    from robolearn.real.bundle import load_bundle
    from robolearn.rl.refinement import load_refinement
    from robolearn.rl.units import Units
    from robolearn.sim.collision import collision_model
    from robolearn.sim.robots import get_robot
    from robolearn.sim.tasks import make_task
    from robolearn.sim.vec_env import make_schema

    scene, arm = make_task(task.name), get_robot(robot.name)
    schema = make_schema(scene, arm, action_space=task.action_space, fps=task.fps)
    policy = load_base(checkpoint, schema)
    acting = load_refinement(policy_folder(checkpoint), policy, Units(policy.normalizer, policy.schema))
    # the robot's own cameras take the pictures
    plain = [key for key, feature in policy.schema.features.items() if not feature.is_picture]
    told = f"task '{task.name}' on robot '{robot.name}'"
    policy.schema.select(plain).require_same(schema.select(plain), what=told)
    watching = None if monitor is None else load_watching(monitor, policy.schema)
    export_bundle(
        out,
        schema=policy.schema,
        robot=arm,
        action_space=task.action_space,
        statistics=policy.statistics,
        task={
            "name": scene.name,
            "instruction": scene.instructions[0][0],
            "max_episode_steps": task.max_episode_steps,
            "stage_names": list(scene.stage_names),
        },
        **graphs_of(policy, acting, rtc=rtc),
        config_yaml=config_yaml,
        provenance={"commit": commit(), **notes},
        collision=collision_model(arm),
        monitor=None if watching is None else watching.part,
    )
    bundle = load_bundle(out)
    if watching is not None and bundle.monitor is not None:
        check_monitor(watching.estimator, bundle.monitor.estimator, scene.instructions[0][0], atol=TOLERANCE)
    observations = _observations(policy, n_obs_steps=acting.policy.n_obs_steps)
    if policy.reads_task:
        said = [phrase for phrases in scene.instructions for phrase in phrases]
        observations[TASK] = np.resize(np.array(said), SAMPLES)
    difference = check_parity(acting.policy, bundle.policy, observations, atol=TOLERANCE)
    if acting.correction is not None and bundle.correction is not None:
        newest = {key: observations[key][:, -1] for key in policy.schema.observation_keys}
        base = policy.predict_chunk(observations).values[:, 0]
        pair = (acting.correction, bundle.correction)
        other = check_correction_parity(*pair, policy.schema, newest, base, atol=TOLERANCE)
        difference = max(difference, other)
    return difference


def graphs_of(base: Any, acting: Acting, *, rtc: bool = True) -> dict[str, Any]:
    """Description and graphs of a policy, and what lies on top of it or in its place, as `export_bundle` takes them.

    With `rtc` a flow also gets the graph for real-time chunking.
    """
    from robolearn.rl.graphs import graph_of

    on_top = graph_of(acting)
    if on_top is None or on_top.kind != "policy":
        encoder, denoiser = base.graphs()
        described = base.describe()
        flow = denoiser is not None and described["sampler"]["name"] in FLOWS
        described["guided"] = rtc and flow
        return {"policy": described, "encoder": encoder, "denoiser": denoiser, "on_top": on_top}
    policy = acting.policy
    described = {
        "kind": on_top.settings["kind"],
        "horizon": policy.horizon,
        "n_action_steps": policy.n_action_steps,
        "n_obs_steps": policy.n_obs_steps,
        "noise_shape": None if policy.noise_shape is None else list(policy.noise_shape),
        "sampler": None,
    }
    return {"policy": described, "encoder": on_top.module, "denoiser": None, "on_top": None}


def _observations(policy: Any, *, n_obs_steps: int) -> dict[str, NDArray[Any]]:
    """Random observations [SAMPLES, n_obs_steps, ...] spread as the training data were; pictures are noise."""
    rng = np.random.default_rng(0)
    drawn: dict[str, NDArray[Any]] = {}
    for key in policy.schema.observation_keys:
        if len(shape := policy.schema[key].shape) == 3:
            drawn[key] = rng.integers(0, 256, (SAMPLES, n_obs_steps, *shape), np.uint8)
            continue
        mean, std = (np.asarray(policy.statistics[key][name], np.float32) for name in ("mean", "std"))
        drawn[key] = mean + std * rng.standard_normal((SAMPLES, n_obs_steps, len(mean)), np.float32)
    return drawn
