"""The emergency stop as topics and services of a node.

~/estop (std_srvs/Trigger)            press it
~/estop_pressed (std_msgs/Bool)       true presses it; false says only that the button is released; any QoS
~/reset_estop (std_srvs/Trigger)      the one way out, once the button is released and the arm at rest
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robolearn.real.requests import outcome

TIMEOUT = 2.0  # s: braking from full speed takes a tenth of it
BY_BUTTON = "emergency stop by the button"
# no single one hears every publisher without loss: the second fits any, the third gets what was said before it came
QUALITIES = (
    QoSProfile(depth=10),
    QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT),
    QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
)


class Button:
    """The button, and the stop that has not been reset yet: what outlives a control loop.

    Attributes:
        held: whether the button said last that it is pressed.
        latched: why the emergency stop must be reset, "" if it need not.
        on_press: called whenever the button says that it is pressed; None while there is no control loop.
    """

    def __init__(self, node: Node) -> None:
        """Listen; a message may come more than once."""
        self.held, self.latched = False, ""
        self.on_press: Callable[[], None] | None = None
        # by default each that does not fit warns that nothing will be received
        silent = SubscriptionEventCallbacks(use_default_callbacks=False)
        for quality in QUALITIES:
            node.create_subscription(Bool, "~/estop_pressed", self._on_message, quality, event_callbacks=silent)

    def _on_message(self, message: Bool) -> None:
        self.held = message.data
        if not self.held:
            return
        self.latched = self.latched or BY_BUTTON
        if self.on_press is not None:
            self.on_press()


class EmergencyStop:
    """Passes on what is pressed and reset."""

    def __init__(
        self,
        node: Node,
        *,
        press: Callable[[str], Future[str]],
        reset: Callable[[], Future[str]],
        latched: Callable[[], bool],
        button: Button | None = None,
    ) -> None:
        """Offer services and obey the button; press at once what was latched before.

        Args:
            node: whose topics and services they are.
            press: stops the arm for a reason; done at rest.
            reset: ends the stop; "" or why not.
            latched: whether the arm is in the stop.
            button: of the node; a new one when None.
        """
        self._press, self._reset, self._latched = press, reset, latched
        self._button = Button(node) if button is None else button
        self._button.on_press = self._on_button
        node.create_service(Trigger, "~/estop", self._on_press)
        node.create_service(Trigger, "~/reset_estop", self._on_reset)
        if self._button.latched:
            self._press(self._button.latched)

    def _on_press(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._button.latched = reason = "emergency stop by ~/estop"
        return _answer(response, outcome(self._press(reason), TIMEOUT))

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._button.held:
            return _answer(response, "the emergency stop's button is still pressed: release it first")
        refusal = outcome(self._reset(), TIMEOUT)
        if not refusal:
            self._button.latched = ""
        return _answer(response, refusal)

    def _on_button(self) -> None:
        if not self._latched():  # a button may say so a thousand times a second
            self._press(BY_BUTTON)


def _answer(response: Trigger.Response, refusal: str) -> Trigger.Response:
    response.success, response.message = not refusal, refusal
    return response
