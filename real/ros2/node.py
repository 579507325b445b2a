"""The node `policy_controller`: topics, services and diagnostics around the control loop."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.context import Context
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import Trigger

from robolearn import execution
from robolearn.errors import UserError
from robolearn.real import record_settings
from robolearn.real.bundle import Bundle, load_bundle
from robolearn.real.collision import collision_check
from robolearn.real.control_loop import ControlLoop
from robolearn.real.controller import Controller
from robolearn.real.joystick import Joystick
from robolearn.real.offer import cameras_of
from robolearn.real.record_settings import RecordSettings
from robolearn.real.recorder import Recorder
from robolearn.real.recording import About
from robolearn.real.requests import outcome
from robolearn.real.ros2.estop import Button, EmergencyStop
from robolearn.real.ros2.monitoring import FAULT, monitor_topic, stops
from robolearn.real.ros2.observing import observe
from robolearn.real.ros2.people import Takeover, hear_verdicts
from robolearn.real.ros2.policy_controller import NAME, OPTIONS
from robolearn.real.ros2.recording import listen, topics_of
from robolearn.real.ros2.robot_io import RIVAL, RosRobot
from robolearn.real.ros2.wiring import Wiring
from robolearn.real.settings import Settings
from robolearn.real.state_machine import Event, State
from robolearn.real.statistics import percentiles, summarise, write_json
from robolearn.real.stitching import require_fit
from robolearn.real.takeover import Led, Person
from robolearn.real.worker import InferenceWorker
from robolearn.safety_settings import SafetySettings, from_options

STOP_TIMEOUT = 2.0  # s: braking from full speed takes a tenth of it
CHANGEABLE = ("instruction",)  # parameters that may be set while the node runs
LARGEST = 1e6  # value of a rate in Hz or a time in s
LOST = "recording_failed"  # of the recorder's statistics
RANGES = {
    spec.name: (spec.metadata["low"] or 0.0, inf if spec.metadata["high"] is None else spec.metadata["high"])
    for spec in fields(SafetySettings)
}
LEVELS = {State.HOLD: DiagnosticStatus.WARN, State.FAULT: DiagnosticStatus.ERROR, State.ESTOP: DiagnosticStatus.ERROR}


class PolicyController:
    """Joins the robot's topics, the inference process and the control loop."""

    def __init__(
        self, node: Node, *, bundle: Bundle, robot: RosRobot, options: Mapping[str, Any], button: Button
    ) -> None:
        """Start inference and loop; the arm moves only after `start`. `node` is a `robolearn.real.ros2.managed` one.

        Raises:
            UserError: an option makes no sense, or the bundle has no collision model that can be used.
        """
        safety, arm = from_options(options), bundle.robot
        collisions = collision_check(bundle.collision, robot=arm, safety=safety, where=f"bundle {bundle.path}")
        alarms = robot.alarms(safety)
        self._node, self._robot, self._bundle = node, robot, bundle
        self._path = Path(options["statistics"]) if options["statistics"] else None
        settings, recording, joystick = settings_of(options)
        takeover = Takeover(node, bundle.action_space, joystick=joystick, joy_topic=options["joy"])
        hear_verdicts(node, self._on_verdict)
        node.create_subscription(String, "~/task_instruction", self._on_instruction, 10)
        self.worker = InferenceWorker(bundle, execution.from_options(options), deadline=settings.deadline)
        self.worker.at_once = options["instruction_at_once"]
        with ExitStack() as undo:
            self._recorder = _start_recorder(node, bundle, recording) if recording.on else None
            if self._recorder is not None:
                undo.callback(self._recorder.close)
            self.worker.start()
            undo.callback(self.worker.close)
            self.controller = Controller(
                schema=bundle.schema,
                action_space=bundle.action_space,
                robot=robot,
                inference=Led(self.worker, Person(takeover, bundle.schema.action), bundle.schema),
                settings=settings,
                safety=safety,
                collisions=collisions,
                alarms=alarms,
                at_once=True,
                observer=self._recorder,
            )
            self.loop = ControlLoop(self.controller)
            self._offer(button)
            # a fault must be seen by a person: a stop would clear it
            active = (lambda: self.controller.machine.state is State.ACTIVE) if stops(options) else None
            self._monitor = monitor_topic(node, bundle, self.worker, ends=active)
            self.loop.start()
            undo.pop_all()

    def _offer(self, button: Button) -> None:
        """Offer services and diagnostics, and watch for rivals."""
        node = self._node
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        node.create_service(Trigger, "~/start", self._on_start)
        node.create_service(Trigger, "~/stop", self._on_stop)
        EmergencyStop(
            node,
            press=lambda reason: self.controller.request(Event.ESTOP, reason),
            reset=lambda: self.controller.request(Event.RESET_ESTOP),
            latched=lambda: self.controller.machine.state is State.ESTOP,
            button=button,
        )
        node.create_timer(1.0, self._diagnose)
        self._robot.watch_rivals(lambda: self.controller.request(Event.FAULT, RIVAL))

    @property
    def condition(self) -> str:
        """State and reason in a line."""
        return f"{self.controller.machine.state}: {self.controller.machine.reason}"

    @property
    def latched(self) -> str:
        """That the emergency stop must be reset before this may be forgotten; "" if it need not."""
        return "reset the emergency stop first" if self.controller.machine.state is State.ESTOP else ""

    def close(self) -> None:
        """Bring the arm to rest, end loop and inference, write the statistics."""
        if self.loop.running:
            outcome(self.controller.request(Event.STOP), STOP_TIMEOUT)
        self.loop.close()
        self.worker.close()
        if self._recorder is not None:
            self._recorder.close()
        self._write()

    def start(self) -> str:
        """Begin to move; return why not, "" once begun."""
        if self._robot.rivals > 0:
            return RIVAL
        if self.controller.machine.state is State.READY:  # else it is refused, and what was told goes on to hold
            self._instruct()
        return outcome(self.controller.request(Event.START), STOP_TIMEOUT)

    def stop(self) -> str:
        """Brake to a stop and write the statistics; return why not, "" once at rest."""
        reason = outcome(self.controller.request(Event.STOP), STOP_TIMEOUT)
        self._write()
        return reason

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = self._node.activate()
        response.success = not response.message
        return response

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = self._node.deactivate()
        response.success = not response.message
        return response

    def _on_instruction(self, message: String) -> None:
        if not self._bundle.policy.reads_task:
            self._node.get_logger().warning("this policy reads no instruction: it does what it was trained for")
        # the parameter says what holds, whoever has set it
        self._node.set_parameters([Parameter("instruction", value=message.data)])
        if self.worker.at_once:
            self._instruct()

    def _instruct(self) -> None:
        self.worker.instruction = self._node.get_parameter("instruction").value or self._bundle.instruction
        if self._recorder is not None:
            self._recorder.instruct(self.worker.instruction)

    def _on_verdict(self, success: bool) -> str | None:
        if self._recorder is None:
            return "nothing is recorded: start the node with record=all"
        lost = self._recorder.judge(success)
        if lost:  # who says it by topic gets no answer
            self._node.get_logger().warning(f"a verdict is lost: {lost}")
        return lost

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
            "refused_commands": controller.safety.refused,
            "collision_check": controller.safety.collisions is not None,
            **({} if self._recorder is None else self._recorder.statistics()),
            **({} if self._monitor is None else self._monitor.details()),
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
            "takeovers": statistics.takeovers,
            "person_steps": statistics.person_steps,
        }
        values |= {f"age_{name}_ms": age and round(age * 1e3, 1) for name, age in self._robot.ages().items()}
        status = DiagnosticStatus(
            level=LEVELS.get(state, DiagnosticStatus.WARN if {LOST, FAULT} & set(values) else DiagnosticStatus.OK),
            name=NAME,
            message=self.condition,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def make_controller(
    node: Node, options: Mapping[str, Any], *, context: Context, ended: threading.Event, button: Button
) -> PolicyController:
    """Load the bundle, check it against what the robot publishes, and start inference and loop.

    Raises:
        UserError: an option makes no sense, or the bundle is damaged or does not fit the robot.
        EndedError: `ended` was set while it waited.
    """
    if not options["bundle"]:
        raise UserError("no bundle: give --bundle FOLDER (the folder that `robolearn export` wrote)")
    settings, *_ = settings_of(options)  # what cannot be is told before anything is waited for
    from_options(options)
    wiring = Wiring.parse(options)
    bundle = load_bundle(Path(options["bundle"]))
    if stops(options) and bundle.monitor is None:
        raise UserError("monitor_action=stop, but the bundle has no monitor: export it with monitor=FOLDER")
    require_fit(execution.from_options(options), bundle.policy)
    wiring.require_robot(bundle.robot, cameras_of(bundle.schema))
    wait = options["wait"]
    schema = observe(bundle, wiring, description=options["robot"], wait=wait, context=context, ended=ended)
    robot = RosRobot(node, schema=schema, robot=bundle.robot, wiring=wiring, settings=settings)
    return PolicyController(node, bundle=bundle, robot=robot, options=options, button=button)


def settings_of(options: Mapping[str, Any]) -> tuple[Settings, RecordSettings, Joystick | None]:
    """What the options say of the loop, of recordings and of a joystick.

    Raises:
        UserError: a value cannot be.
    """
    settings = Settings(**{field.name: options[field.name] for field in fields(Settings)})
    joystick = Joystick.of(
        options["joy_axes"], options["joy_buttons"], speed=options["joy_speed"], turn=options["joy_turn"]
    )
    return settings, record_settings.from_options(options), joystick if options["joy"] else None


def _start_recorder(node: Node, bundle: Bundle, settings: RecordSettings) -> Recorder:
    recorder = Recorder(settings, About.of(bundle), listener=partial(listen, topics=topics_of(node)))
    recorder.start()
    return recorder


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
            low, high = RANGES.get(name, (0.0, LARGEST))
            description.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        try:
            values[name] = node.declare_parameter(name, value, description).value
        except ParameterException as error:
            raise UserError(f"parameter '{name}': {error}") from error
    return values
