"""`robolearn sim-arm`: play the arm's hardware on ROS 2 topics."""

from __future__ import annotations

import os

from robolearn.commands.common import console
from robolearn.config import SimArmConfig


def run(config: SimArmConfig) -> None:
    """Publish joint states and object poses and obey position commands until interrupted."""
    if config.domain_id is not None:
        os.environ["ROS_DOMAIN_ID"] = str(config.domain_id)
    from robolearn.real.ros2.simulated_arm import COMMANDS, EPISODE, FAULT, RESET, run_arm
    from robolearn.sim.ros_arm import make_plant

    flaws = config.flaws
    plant = make_plant(
        task=config.task.name,
        robot=config.robot.name,
        period=1 / config.rate,
        gain=flaws.gain,
        gravity=flaws.gravity,
        cameras=tuple(config.cameras),
        image_size=config.image_size,
    )
    plant.reset(config.seed)
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    console.print(
        f"{config.robot.name} in ROS domain {domain}: /joint_states at {config.rate:g} Hz, "
        f"obeys {COMMANDS}, episodes by {RESET}, news on {EPISODE}, faults by {FAULT}; Ctrl-C ends it"
    )
    run_arm(plant, rate=config.rate, record=None, imperfections=flaws)
