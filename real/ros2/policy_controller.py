"""Run a bundle on an arm: `python -m robolearn.real.ros2.policy_controller --bundle FOLDER`.

Also the executable of the ROS 2 package. Light on purpose: the inference process imports it too.
"""

from __future__ import annotations

import argparse
import os
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; return 0, or 2 after a mistake that the user can mend."""
    for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(library, "1")  # small matrices: more threads only disturb the control loop
    from robolearn.errors import UserError

    options, ros_arguments = parser().parse_known_args(sys.argv[1:] if arguments is None else arguments)
    try:
        from robolearn.real.ros2.availability import require_rclpy

        require_rclpy()
        from robolearn.real.ros2.node import run

        return run(vars(options), ros_arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2


def parser() -> argparse.ArgumentParser:
    """Options; each is a ROS parameter of the same name too (`--ros-args -p bundle:=FOLDER`)."""
    result = argparse.ArgumentParser(prog="policy_controller", description="Run a bundle on an arm through ROS 2.")
    result.add_argument("--bundle", default="", help="folder that `robolearn export` wrote")
    result.add_argument("--statistics", default="", help="JSON file for the loop's statistics, written at each stop")
    result.add_argument(
        "--robot",
        default="",
        help='JSON file {"joints": [...], "objects": [...]}: what the drivers '
        "publish; by default what is seen on the topics",
    )
    result.add_argument(
        "--instruction",
        default="",
        help="what a policy that reads an instruction is told at the next start; by default the bundle's",
    )
    result.add_argument("--rate", type=float, default=250.0, help="commands per second")
    result.add_argument("--stale-after", type=float, default=0.05, help="age in s of an observation: then hold")
    result.add_argument("--chunk-timeout", type=float, default=0.5, help="s without inference: then hold")
    result.add_argument("--deadline", type=float, default=0.02, help="s that a control step waits for its action")
    result.add_argument("--seed", type=int, default=0, help="of the policy's noise")
    result.add_argument("--wait", type=float, default=20.0, help="s to wait for the robot's topics")
    return result


if __name__ == "__main__":
    sys.exit(main())
