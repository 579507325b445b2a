"""`robolearn deploy`: run a bundle on the simulated arm through ROS 2, in processes of their own."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from robolearn.commands.common import claim, console, progress
from robolearn.config import DeployConfig, DeploymentConfig
from robolearn.eval.metrics import SuccessRate
from robolearn.eval.report import Row, print_table


def run(config: DeployConfig) -> None:
    """Deploy, and print successes and punctuality."""
    result = deploy(config.deploy, bundle=Path(config.bundle), first_seed=config.seed, out=Path(config.out))
    loop = result["loop"]
    print_table([Row(config.bundle, SuccessRate(result["successes"], len(result["episodes"])))], console)
    console.print(
        f"control loop: lateness p50 {loop['lateness_ms']['p50']} ms, p99 {loop['lateness_ms']['p99']} ms; "
        f"{loop['missed_periods']} of {loop['periods']} periods missed"
    )


def deploy(config: DeploymentConfig, *, bundle: Path, first_seed: int, out: Path) -> dict[str, Any]:
    """Run episodes through ROS 2; see `robolearn.real.ros2.episodes.run_episodes` for what comes back.

    Raises:
        UserError: ROS 2 is missing, its domain is busy, the bundle is damaged or of another robot, or `out` holds
            episodes of another bundle or other settings.
    """
    from robolearn.execution import Execution
    from robolearn.real.bundle import load_bundle
    from robolearn.real.record_settings import RecordSettings
    from robolearn.real.ros2.episodes import run_episodes
    from robolearn.real.settings import Settings

    settings = Settings(
        rate=config.control_rate,
        stale_after=config.stale_limit,
        chunk_timeout=config.chunk_timeout,
        deadline=config.inference_deadline,
    )
    recording = RecordSettings(
        mode=config.record,
        folder=str(out / "recordings"),
        ring_seconds=config.ring_seconds,
        after_seconds=config.record_after,
        megabytes=config.record_megabytes,
    )
    execution = Execution(**{option.name: getattr(config, option.name) for option in fields(Execution)})
    load_bundle(bundle)  # which checks that the manifest stands for all of it
    checksum = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    chosen = {"settings": asdict(settings), "execution": asdict(execution), "safety": asdict(config.safety)}
    claim(out, {"bundle": checksum} | chosen)
    with progress("deploy", config.episodes) as advance:
        successes = 0

        def on_episode(episode: dict[str, Any]) -> None:
            nonlocal successes
            successes += episode["success"]
            advance(1, f"{successes} successes")

        return run_episodes(
            bundle,
            seeds=range(first_seed, first_seed + config.episodes),
            out=out,
            settings=settings,
            recording=recording,
            execution=execution,
            safety=config.safety,
            domain_id=config.domain_id,
            progress=on_episode,
        )
