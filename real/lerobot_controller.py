"""Run a bundle on an arm of LeRobot, without ROS.

python -m robolearn.real.lerobot_controller --bundle FOLDER --robot-type so101_follower --port /dev/ttyACM0
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from robolearn import execution
from robolearn.errors import UserError, nearest
from robolearn.real import record_settings
from robolearn.real.bundle import load_bundle
from robolearn.real.collision import collision_check
from robolearn.real.control_loop import ControlLoop
from robolearn.real.controller import Controller
from robolearn.real.lerobot_robot import Calibration, LeRobotArm
from robolearn.real.recorder import Recorder
from robolearn.real.recording import About
from robolearn.real.requests import outcome
from robolearn.real.ros2.policy_controller import SAFETY, add_options
from robolearn.real.settings import Settings
from robolearn.real.state_machine import Event, State
from robolearn.real.statistics import summarise, write_json
from robolearn.real.worker import InferenceWorker
from robolearn.safety_settings import from_options

FIRST_OBSERVATION = 10.0  # s
STOP_TIMEOUT = 2.0  # s


def main(arguments: list[str] | None = None) -> int:
    """Run until Ctrl-C or for some time; return 0, 1 after a fault, or 2 after a mistake that the user can mend."""
    for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(library, "1")  # small matrices: more threads only disturb the control loop
    options = parser().parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        arm = connect(options)
        try:
            return run(arm, options, ended, confirm=None if options.start else lambda: _confirm(ended))
        finally:
            arm.disconnect()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="lerobot_controller", description="Run a bundle on an arm of LeRobot.")
    result.add_argument("--bundle", type=Path, required=True, help="folder that `robolearn export` wrote")
    result.add_argument("--robot-type", default="so101_follower", help="LeRobot's name of the arm")
    result.add_argument("--port", help="serial port of the motors")
    result.add_argument("--id", help="name under which LeRobot keeps the arm's calibration")
    result.add_argument(
        "--robot-config", type=Path, help="JSON file of LeRobot's robot configuration, e.g. its cameras"
    )
    result.add_argument("--calibration", type=Path, help="JSON file: how joints follow from motors")
    result.add_argument("--rate", type=float, default=100.0, help="commands per second")
    result.add_argument("--stale-after", type=float, default=0.1, help="age in s of an observation: then hold")
    result.add_argument("--chunk-timeout", type=float, default=0.5, help="s without inference: then hold")
    result.add_argument("--ramp", type=float, default=1.0, help="s over which the arm gathers way")
    result.add_argument("--seed", type=int, default=0, help="of the policy's noise")
    result.add_argument("--instruction", default="", help="what the policy is told; by default the bundle's")
    result.add_argument("--seconds", type=float, help="s to run; by default until Ctrl-C")
    result.add_argument("--statistics", type=Path, help="JSON file for the loop's statistics")
    for group in (execution.OPTIONS, record_settings.OPTIONS, SAFETY):
        add_options(result, group)
    result.add_argument("--start", action="store_true", help="do not ask before the arm moves")
    return result


def connect(options: argparse.Namespace) -> Any:
    """Connect to the arm with LeRobot.

    Raises:
        UserError: LeRobot or the arm is missing, or it is not calibrated.
    """
    arm = make_arm(options)
    try:
        arm.connect(calibrate=False)
    except Exception as error:  # of any bus
        raise UserError(f"the arm cannot be reached: {error}; see that it has power and --port is right") from error
    if not arm.is_calibrated:
        arm.disconnect()
        raise UserError("the arm is not calibrated: run `lerobot-calibrate` with the same type, port and id first")
    return arm


def make_arm(options: argparse.Namespace) -> Any:
    """Make LeRobot's robot.

    Raises:
        UserError: LeRobot is missing, or the configuration is none of its.
    """
    try:
        import draccus
        from lerobot import cameras, robots
    except ImportError as error:
        raise UserError(f"LeRobot is not installed ({error}): pip install 'lerobot[feetech]'") from error
    for package in (robots, cameras):
        _register(package)
    config = _config(options)
    if config["type"] not in (known := list(robots.RobotConfig.get_known_choices())):
        raise UserError(f"LeRobot has no robot '{config['type']}'{nearest(config['type'], known)}")
    try:
        return robots.make_robot_from_config(draccus.decode(robots.RobotConfig, config))
    except Exception as error:  # draccus and LeRobot raise many kinds
        raise UserError(f"LeRobot cannot make this robot: {error}") from error


def run(arm: Any, options: argparse.Namespace, ended: threading.Event, *, confirm: Callable[[], object] | None) -> int:
    """Run a bundle on a connected arm; `confirm` waits until somebody says that it may move.

    Raises:
        UserError: the bundle does not fit the arm, or the arm refuses to start.
    """
    bundle = load_bundle(options.bundle)
    calibration = Calibration.load(options.calibration, bundle.robot) if options.calibration else None
    settings = Settings(
        rate=options.rate,
        stale_after=options.stale_after,
        chunk_timeout=options.chunk_timeout,
        seed=options.seed,
        ramp=options.ramp,
    )
    spec, safety = bundle.robot, from_options(vars(options))
    recording = record_settings.from_options(vars(options))
    collisions = collision_check(bundle.collision, robot=spec, safety=safety, where=f"bundle {bundle.path}")
    with ExitStack() as stack:
        robot = LeRobotArm(arm, schema=bundle.schema, robot=bundle.robot, calibration=calibration)
        stack.callback(robot.close)
        alarms = robot.alarms(safety)
        worker = InferenceWorker(bundle, execution.from_options(vars(options)), deadline=settings.deadline)
        worker.instruction = options.instruction or bundle.instruction
        recorder = Recorder(recording, About.of(bundle)) if recording.on else None
        if recorder is not None:
            recorder.start()
            stack.callback(recorder.close)
            recorder.instruct(worker.instruction)
        worker.start()
        stack.callback(worker.close)
        controller = Controller(
            schema=bundle.schema,
            action_space=bundle.action_space,
            robot=robot,
            inference=worker,
            settings=settings,
            safety=safety,
            collisions=collisions,
            alarms=alarms,
            observer=recorder,
        )
        loop = ControlLoop(controller, lock=False)  # LeRobot has torch in memory, which nobody uses
        loop.start()
        stack.callback(loop.close)
        stack.callback(lambda: outcome(controller.request(Event.STOP), STOP_TIMEOUT))
        _wait_for(lambda: controller.machine.state is State.READY, ended, robot)
        if confirm is not None and not ended.is_set():
            confirm()
        fault = _move(controller, loop, ended, options.seconds)
    if options.statistics is not None:
        record = controller.statistics.to_dict()
        recorded = {} if recorder is None else recorder.statistics()
        write_json(options.statistics, {**record, **recorded, "summary": summarise([record])})
    if fault:
        print(f"error: {fault}", file=sys.stderr, flush=True)
    return int(bool(fault))


def _move(controller: Controller, loop: ControlLoop, ended: threading.Event, seconds: float | None) -> str:
    """Let the policy move the arm; return what went wrong, "" if nothing did."""
    if ended.is_set():
        return ""
    if refusal := outcome(controller.request(Event.START), STOP_TIMEOUT):
        raise UserError(f"the arm does not start: {refusal}")
    limit = None if seconds is None else time.monotonic() + seconds
    known = ""
    while not ended.wait(0.05) and (limit is None or time.monotonic() < limit):
        state, reason = controller.machine.state, controller.machine.reason
        if not loop.running or state is State.FAULT:
            return loop.failure or reason
        if known != (known := f"{state}: {reason}"):
            print(known, flush=True)
    return ""


def _wait_for(done: Callable[[], bool], ended: threading.Event, robot: LeRobotArm) -> None:
    limit = time.monotonic() + FIRST_OBSERVATION
    while not done() and not ended.wait(0.05):
        if time.monotonic() > limit:
            why = robot.failure or "its observations are too old: raise --stale-after, or lower the cameras' resolution"
            raise UserError(f"waited {FIRST_OBSERVATION:.0f} s in vain for fresh observations of the arm: {why}")


def _confirm(ended: threading.Event) -> None:
    print("the arm is ready. Keep a hand on its switch, and press Enter to let it move; Ctrl-C stops it", flush=True)
    while not ended.is_set():
        if select.select([sys.stdin], [], [], 0.1)[0]:
            if not sys.stdin.readline():
                raise UserError("nobody can press Enter here: use a terminal, or --start to let the arm move at once")
            return


def _config(options: argparse.Namespace) -> dict[str, Any]:
    """LeRobot's robot configuration: a file's, the command line's where that says nothing."""
    try:
        config = json.loads(options.robot_config.read_text()) if options.robot_config else {}
        given = {"type": options.robot_type, "port": options.port, "id": options.id}
        return {key: value for key, value in given.items() if value is not None} | config
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{options.robot_config} is no robot configuration of LeRobot: {error}") from error


def _register(package: Any) -> None:
    """Let LeRobot know of all arms and cameras of which the libraries are there."""
    for module in pkgutil.iter_modules(package.__path__):
        with suppress(ImportError):
            importlib.import_module(f"{package.__name__}.{module.name}")


if __name__ == "__main__":
    sys.exit(main())
