"""The node `policy_controller`: topics, services and diagnostics around the control loop."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from robolearn.errors import UserError
from robolearn.proprioception import objects_of
from robolearn.real import control_loop
from robolearn.real.bundle import Bundle, load_bundle
from robolearn.real.control_loop import ControlLoop
from robolearn.real.controller import Controller
from robolearn.real.offer import POSES, offered_schema, pose_topic
from robolearn.real.realtime import use_fifo
from robolearn.real.requests import outcome
from robolearn.real.ros2.policy_controller import OPTIONS
from robolearn.real.ros2.robot_io import JOINT_STATES, NEWEST, RIVAL, RosRobot
from robolearn.real.settings import Settings
from robolearn.real.state_machine import Event, State
from robolearn.real.statistics import percentiles, summarise, write_json
from robolearn.real.worker import InferenceWorker

NAME = "policy_controller"
PRIORITY = control_loop.PRIORITY - 10  # of SCHED_FIFO, for callbacks and DDS threads
STOP_TIMEOUT = 2.0  # s: braking from full speed takes a tenth of it
CHANGEABLE = ("instruction",)  # parameters that may be set while the node runs
LARGEST = 1e6  # value of a rate in Hz or a time in s
GRACE = 3.0  # s after the first joint state to discover other publishers
LEVELS = {State.HOLD: DiagnosticStatus.WARN, State.FAULT: DiagnosticStatus.ERROR}


class PolicyController:
    """Joins the robot's topics, the inference process and the control loop."""

    def __init__(self, node: Node, *, bundle: Bundle, robot: RosRobot, settings: Settings, statistics: str) -> None:
        """Start inference and loop; the arm moves only after `~/start`."""
        self._node, self._robot, self._bundle = node, robot, bundle
        self._path = Path(statistics) if statistics else None
        self.worker = InferenceWorker(bundle)
        self.worker.start()
        self.controller = Controller(
            schema=bundle.schema,
            action_space=bundle.action_space,
            robot=robot,
            inference=self.worker,
            settings=settings,
        )
        self.loop = ControlLoop(self.controller)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        node.create_service(Trigger, "~/start", self._on_start)
        node.create_service(Trigger, "~/stop", self._on_stop)
        node.create_timer(1.0, self._diagnose)
        robot.watch_rivals(lambda: self.controller.request(Event.FAULT, RIVAL))
        self.loop.start()

    @property
    def condition(self) -> str:
        """State and reason in a line."""
        return f"{self.controller.machine.state}: {self.controller.machine.reason}"

    def close(self) -> None:
        """Bring the arm to rest, end loop and inference, write the statistics."""
        if self.loop.running:
            outcome(self.controller.request(Event.STOP), STOP_TIMEOUT)
        self.loop.close()
        self.worker.close()
        self._write()

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._robot.rivals > 0:
            response.message = RIVAL
        else:
            # may be set anew between activations
            self.worker.instruction = self._node.get_parameter("instruction").value or self._bundle.instruction
            response.message = outcome(self.controller.request(Event.START), STOP_TIMEOUT)
        response.success = not response.message
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = outcome(self.controller.request(Event.STOP), STOP_TIMEOUT)
        response.success = not response.message
        self._write()
        return response

    def _write(self) -> None:
        if self._path is None:
            return
        record = self.controller.statistics.to_dict()
        write_json(self._path, {**record, **self._details(), "summary": summarise([record])})

    def _details(self) -> dict[str, Any]:
        controller = self.controller
        return {
            "state": str(controller.machine.state),
            "reason": controller.machine.reason,
            "rate": controller.settings.rate,
            "real_time_priority": self.loop.fifo,
            "memory_locked": self.loop.locked,
            "limited_commands": controller.safety.limited,
            "rejected_commands": controller.safety.rejected,
        }

    def _diagnose(self) -> None:
        statistics, state = self.controller.statistics, self.controller.machine.state
        lateness = percentiles(statistics.lateness.values() * 1e3)
        values = self._details() | {
            "lateness_p50_ms": lateness["p50"],
            "lateness_p99_ms": lateness["p99"],
            "missed_periods": statistics.missed,
            "late_chunks": statistics.late_chunks,
            "holds": statistics.holds,
        }
        status = DiagnosticStatus(
            level=LEVELS.get(state, DiagnosticStatus.OK),
            name=NAME,
            message=self.condition,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def run(options: Mapping[str, Any], ros_arguments: list[str]) -> int:
    """Run the node until SIGINT or SIGTERM; see `policy_controller.parser` for the options.

    Raises:
        UserError: if the bundle is damaged or does not fit the robot.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    # Python's lock is shared: a callback that is preempted while it has it would delay the control loop
    use_fifo(PRIORITY)
    # with rclpy's own handlers the context would be gone before the arm has come to rest
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(NAME)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        return _serve(node, executor, declare(node, options), ended)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()


def _serve(node: Node, executor: SingleThreadedExecutor, options: Mapping[str, Any], ended: threading.Event) -> int:
    if not options["bundle"]:
        raise UserError("no bundle: give --bundle FOLDER (the folder that `robolearn export` wrote)")
    settings = Settings(**{field.name: options[field.name] for field in fields(Settings)})
    bundle = load_bundle(Path(options["bundle"]))
    if options["robot"]:
        offer = _described(Path(options["robot"]))
    else:
        offer = _observed(node, executor, bundle, options, ended)
    if ended.is_set():
        return 0
    schema = offered_schema(bundle, joints=offer["joints"], objects=offer["objects"])
    bundle.require_robot(schema)
    robot = RosRobot(node, schema=schema, robot=bundle.robot)
    controller = PolicyController(node, bundle=bundle, robot=robot, settings=settings, statistics=options["statistics"])
    node.get_logger().info(f"ready to run {bundle.path}: call ~/start")
    known = ""
    try:
        while not ended.is_set() and controller.loop.running:
            executor.spin_once(timeout_sec=0.1)
            if controller.condition != known:
                known = controller.condition
                node.get_logger().info(known)
    finally:
        controller.close()
    if controller.loop.failure is not None:
        node.get_logger().fatal(controller.loop.failure)
        return 1
    return 0


def declare(node: Node, options: Mapping[str, Any]) -> dict[str, Any]:
    """Declare a parameter for each option and return their values, which others may have set at the start.

    Raises:
        UserError: a value is out of range or of another type.
    """
    values = {}
    for name, value in options.items():
        # read when the node begins, so that setting it later must not seem to work
        description = ParameterDescriptor(description=OPTIONS[name][1], read_only=name not in CHANGEABLE)
        if isinstance(value, float):
            description.floating_point_range = [FloatingPointRange(from_value=0.0, to_value=LARGEST)]
        try:
            values[name] = node.declare_parameter(name, value, description).value
        except ParameterException as error:
            raise UserError(f"parameter '{name}': {error}") from error
    return values


def _described(path: Path) -> dict[str, Any]:
    try:
        offer = json.loads(path.read_text())
        return {"joints": list(offer["joints"]), "objects": list(offer["objects"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is no robot description {{"joints": [...], "objects": [...]}}: {error}') from error


def _observed(
    node: Node, executor: SingleThreadedExecutor, bundle: Bundle, options: Mapping[str, Any], ended: threading.Event
) -> dict[str, Any]:
    """Joint names of a joint state, of the one that fits best, and the objects whose poses somebody publishes."""
    seen: set[tuple[str, ...]] = set()
    subscription = node.create_subscription(
        JointState, JOINT_STATES, lambda message: seen.add(tuple(message.name)), NEWEST
    )
    node.get_logger().info(f"waiting for {JOINT_STATES}")
    limit = time.monotonic() + options["wait"]
    while not seen and not ended.is_set():
        executor.spin_once(timeout_sec=0.1)
        if time.monotonic() > limit:
            raise UserError(f"nobody publishes {JOINT_STATES}: start the arm's driver in the same ROS domain")
    joints = {*bundle.robot.joint_names, *bundle.robot.gripper_joints}
    wanted = objects_of(bundle.schema[POSES]) if POSES in bundle.schema.features else ()
    limit = time.monotonic() + GRACE
    fitting: tuple[str, ...] = ()
    found: list[str] = []
    while time.monotonic() < limit and not ended.is_set():
        # a gripper may have a driver of its own
        fitting = max(seen, key=lambda names: len(joints & set(names)))
        found = [name for name in wanted if node.count_publishers(pose_topic(name)) > 0]
        if len(found) == len(wanted) and joints <= set(fitting):
            break
        executor.spin_once(timeout_sec=0.1)
    node.destroy_subscription(subscription)
    return {"joints": list(fitting), "objects": found}
