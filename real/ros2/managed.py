"""The node as ROS 2's lifecycle has it: configure, activate, deactivate, cleanup, shutdown.

unconfigured  parameters are known, nothing else
inactive      bundle loaded and fitting, inference and control loop run, nothing is sent
active        the policy moves the arm; see `robolearn.real.state_machine` for what the loop does meanwhile
finalized     the process ends

A transition that is refused (a bundle that does not fit, a stale observation) leaves the node where it was; an error
leads through ErrorProcessing to unconfigured. Both log the reason.
"""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any, cast

import rclpy
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from robolearn.errors import UserError
from robolearn.real import control_loop
from robolearn.real.realtime import use_fifo
from robolearn.real.ros2.estop import Button
from robolearn.real.ros2.node import PolicyController, declare, make_controller
from robolearn.real.ros2.observing import EndedError
from robolearn.real.ros2.policy_controller import NAME
from robolearn.real.ros2.scope import Scope

SUCCESS = TransitionCallbackReturn.SUCCESS
FAILURE = TransitionCallbackReturn.FAILURE
ERROR = TransitionCallbackReturn.ERROR
PRIORITY = control_loop.PRIORITY - 10  # of SCHED_FIFO, for callbacks and DDS threads
LINGER = 0.5  # s after a shutdown for its answer to reach who asked for it
RCLError = rclpy_implementation.RCLError
UNCONFIGURED = "it is not configured: call ~/change_state"


class ManagedNode(LifecycleNode):
    """`policy_controller` and its transitions.

    Attributes:
        controller: between configure and cleanup.
        active: whether the lifecycle's state is "active".
        finalized: whether it is "finalized".
        refusal: why the last transition did not succeed, "" if it did.
        failure: the exception that the last transition ended with, if any.
    """

    def __init__(self, options: Mapping[str, Any], ended: threading.Event) -> None:
        """Declare parameters; see `robolearn.real.ros2.node.declare`."""
        super().__init__(NAME)
        self.options, self._ended = declare(self, options), ended
        self.controller: PolicyController | None = None
        self._scope = Scope(self)
        self._button = Button(self)
        self.active = self.finalized = False
        self.refusal = ""
        self.failure: Exception | None = None
        self._change, self._service_change_state.callback = self._service_change_state.callback, self._on_change

    def activate(self) -> str:
        """Make the transition that `~/start` asks for; return why not, "" once the arm is on its way."""
        if self.controller is None or self.active:
            return UNCONFIGURED if self.controller is None else self.controller.start()  # which says why not
        self.trigger_activate()
        return self.refusal

    def deactivate(self) -> str:
        """Make the transition that `~/stop` asks for; return why not, "" once the arm is at rest."""
        if self.controller is None or not self.active:
            return UNCONFIGURED if self.controller is None else self.controller.stop()
        self.trigger_deactivate()
        return self.refusal

    def abort(self) -> None:
        """Go through ErrorProcessing to unconfigured, because the control loop has failed."""
        (self.trigger_deactivate if self.active else self.trigger_cleanup)()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and check the bundle against the robot's channels, start inference and loop."""
        result = self._attempt(self._configure)
        if result != SUCCESS:
            self.release()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to move, from the measured pose."""
        result = self._attempt(lambda: self._sound().start())
        self.active = result == SUCCESS
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Brake to a stop."""
        result = self._attempt(lambda: self._sound().stop())
        self.active = result == FAILURE
        return result

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End loop and inference."""
        result = self._attempt(lambda: self._sound().latched or self._sound().stop())
        if result == SUCCESS:
            self.release()
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End loop and inference for good."""
        self.release()
        self.finalized = True
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End loop and inference after an error, so that the node can be configured again."""
        self.release()
        return SUCCESS

    def destroy_node(self) -> None:
        """End the lifecycle's state machine too: it holds on to the node, and rclpy leaves it to the collector."""
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    def _on_change(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        """Answer ~/change_state; Jazzy's rclpy raises where the present state has no such transition."""
        try:
            return self._change(request, response)
        except RCLError as error:
            self.get_logger().warning(f"a transition was refused: {error}")
            response.success = False
            return response

    def _configure(self) -> str:
        node = cast(Node, self._scope)
        self.controller = make_controller(
            node, self.options, context=self.context, ended=self._ended, button=self._button
        )
        self.get_logger().info(f"ready to run {self.options['bundle']}: call ~/start")
        return ""

    def _sound(self) -> PolicyController:
        """The controller, if its loop runs.

        Raises:
            RuntimeError: it does not.
        """
        assert self.controller is not None, "the lifecycle allows this when configured only"
        if not self.controller.loop.running:
            raise RuntimeError(f"the control loop failed: {self.controller.loop.failure}")
        return self.controller

    def _attempt(self, step: Callable[[], str]) -> TransitionCallbackReturn:
        """Do what a transition is for; `step` returns why it refuses, or raises."""
        self.refusal, self.failure = "", None
        try:
            self.refusal = step()
        except (UserError, EndedError) as error:
            self.refusal, self.failure = str(error), error
        except Exception as error:  # rclpy would drop it without a word
            self.refusal, self.failure = str(error), error
            self.get_logger().fatal("".join(traceback.format_exception(error)))
            return ERROR
        if self.refusal:
            self.get_logger().warning(self.refusal)
        return FAILURE if self.refusal else SUCCESS

    def release(self) -> None:
        """Bring the arm to rest and end what configuring began, whatever the state."""
        self.active, self._button.on_press = False, None
        if self.controller is not None:
            self.controller.close()
            self.controller = None
        self._scope.close()


def run(options: Mapping[str, Any], ros_arguments: list[str]) -> int:
    """Run the node until SIGINT, SIGTERM or its shutdown; see `policy_controller.parser` for the options.

    Returns:
        0, or 1 after an error in the control loop of a node that started by itself.

    Raises:
        UserError: such a node's bundle is damaged or does not fit the robot.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    # Python's lock is shared: a callback that is preempted while it has it would delay the control loop
    use_fifo(PRIORITY)
    # with rclpy's own handlers the context would be gone before the arm has come to rest
    rclpy.init(args=ros_arguments, signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor()
    node = None
    try:
        node = ManagedNode(options, ended)
        executor.add_node(node)
        return _serve(node, executor, ended)
    finally:
        if node is not None:
            node.release()
        executor.shutdown()
        if node is not None:
            node.destroy_node()
        rclpy.shutdown()


def _serve(node: ManagedNode, executor: SingleThreadedExecutor, ended: threading.Event) -> int:
    alone = node.options["autostart"]
    if alone:
        node.trigger_configure()
        if ended.is_set():
            return 0
        if node.failure is not None:
            raise node.failure
    known = ""
    while not ended.is_set() and not node.finalized:
        executor.spin_once(timeout_sec=0.1)
        controller = node.controller
        if controller is None:
            continue
        if controller.condition != known:
            known = controller.condition
            node.get_logger().info(known)
        if not controller.loop.running:
            if alone:
                node.get_logger().fatal(str(controller.loop.failure))
                return 1
            node.abort()
    if node.finalized:
        ended.wait(LINGER)
    return 0
