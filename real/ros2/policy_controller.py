"""Run a bundle on an arm: `python -m robolearn.real.ros2.policy_controller --bundle FOLDER`.

Also the executable of the ROS 2 package. Light on purpose: the inference process imports it too.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields

from robolearn import execution
from robolearn.real import record_settings
from robolearn.safety_settings import SafetySettings, as_options

NAME = "policy_controller"  # of the node
Options = dict[str, tuple[str | float | bool, str]]  # default and meaning
DEFAULTS = as_options(SafetySettings())
SAFETY: Options = {spec.name: (DEFAULTS[spec.name], spec.metadata["help"]) for spec in fields(SafetySettings)}
OPTIONS: Options = {
    "bundle": ("", "folder that `robolearn export` wrote"),
    "statistics": ("", "JSON file for the loop's statistics, written at each stop"),
    "robot": (
        "",
        'JSON file {"joints": [...], "objects": [...], "cameras": [...]}: what the drivers publish; by default what is '
        "seen on topics",
    ),
    "instruction": (
        "",
        "what a policy that reads an instruction is told at the next start; by default the bundle's",
    ),
    "instruction_at_once": (False, "whether ~/task_instruction counts at once, not from the next start on"),
    "monitor_action": ("report", "report or stop: whether success or failure by the bundle's monitor ends the episode"),
    "autostart": (True, "whether the node configures itself, and ends with an error if it cannot"),
    "output": ("commands", "commands, joint_trajectory, joint_state or twist: what the arm's controller takes"),
    "command_topic": ("", "topic of the output; by default ~/OUTPUT"),
    "gripper_topic": (
        "",
        "topic of the gripper's width; by default it comes after the joints of `commands`, else ~/gripper_commands",
    ),
    "joint_states": ("/joint_states", "topic of the arm's joint states"),
    "gripper_states": ("", "topic of the gripper's joint states; by default it is in the arm's messages"),
    "gripper": ("", "JOINT:CLOSED:OPEN, the gripper's joint and its positions; by default finger joints in m"),
    "joint_names": ("", "OURS=THEIRS,...: joints that the driver names otherwise"),
    "camera_topics": ("", "CAMERA=TOPIC,...: where pictures are, if not on /cameras/CAMERA/image_raw"),
    "camera_fit": ("stretch", "stretch or crop: how pictures of other proportions are fitted"),
    "wrench": ("", "topic of a force-torque sensor (geometry_msgs/WrenchStamped)"),
    "base_frame": ("base", "frame in which a twist is meant"),
    "rate": (250.0, "commands per second"),
    "stale_after": (0.05, "age in s of an observation: then hold"),
    "camera_stale_after": (0.2, "age in s of a picture, or of the state of a gripper with its own driver: then hold"),
    "chunk_timeout": (0.5, "s without inference: then hold"),
    "deadline": (0.02, "s that a control step waits for its action"),
    "seed": (0, "of the policy's noise"),
    "ramp": (0.0, "s after a start or a hold over which the arm gathers way"),
    "wait": (20.0, "s to wait for the robot's topics"),
    **record_settings.OPTIONS,
    "joy": ("", "topic of a joystick (sensor_msgs/Joy) by which a person takes over; none by default"),
    "joy_axes": ("x=1,y=0,z=4,rz=3", "axes that move and turn the tool in the base frame; x=-1 turns one round"),
    "joy_buttons": ("deadman=4,open=1,close=0", "buttons; the joystick counts while the dead-man button is held"),
    "joy_speed": (0.1, "m/s at an axis's full deflection"),
    "joy_turn": (0.5, "rad/s at an axis's full deflection"),
    **execution.OPTIONS,
    **SAFETY,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; return 0, or 2 after a mistake that the user can mend."""
    for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(library, "1")  # small matrices: more threads only disturb the control loop
    from robolearn.errors import UserError
    from robolearn.real.ros2.availability import require_rclpy, split_arguments

    own, ros_arguments = split_arguments(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(own)
    try:
        require_rclpy()
        from robolearn.real.ros2.managed import run

        return run(vars(options), ros_arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2


def parser() -> argparse.ArgumentParser:
    """Each of `OPTIONS`, which are ROS parameters of the same name too (`--ros-args -p bundle:=FOLDER`)."""
    result = argparse.ArgumentParser(prog="policy_controller", description="Run a bundle on an arm through ROS 2.")
    add_options(result, OPTIONS)
    return result


def add_options(result: argparse.ArgumentParser, options: Options) -> None:
    """Add options by name."""
    for name, (default, meaning) in options.items():
        kind = _truth if isinstance(default, bool) else type(default)
        result.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=meaning)


def _truth(text: str) -> bool:
    """Read true or false, as ROS writes them."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, not '{text}'")
    return text == "true"


if __name__ == "__main__":
    sys.exit(main())
