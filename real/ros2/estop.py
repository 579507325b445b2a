"""The emergency stop as topics and services of a node.

~/estop (std_srvs/Trigger)            press it
~/estop_pressed (std_msgs/Bool)       true presses it; false says only that the button is released
~/reset_estop (std_srvs/Trigger)      the one way out, once the button is released and the arm at rest
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from rclpy.node import Node
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robolearn.real.requests import outcome

TIMEOUT = 2.0  # s: braking from full speed takes a tenth of it


class EmergencyStop:
    """Passes on what is pressed and reset."""

    def __init__(
        self,
        node: Node,
        *,
        press: Callable[[str], Future[str]],
        reset: Callable[[], Future[str]],
        latched: Callable[[], bool],
    ) -> None:
        """Offer services and listen to the button.

        Args:
            node: whose topics and services they are.
            press: stops the arm for a reason; done at rest.
            reset: ends the stop; "" or why not.
            latched: whether the arm is in the stop.
        """
        self._press, self._reset, self._latched = press, reset, latched
        self._held = False
        node.create_service(Trigger, "~/estop", self._on_press)
        node.create_service(Trigger, "~/reset_estop", self._on_reset)
        node.create_subscription(Bool, "~/estop_pressed", self._on_button, 10)

    def _on_press(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return _answer(response, outcome(self._press("emergency stop by ~/estop"), TIMEOUT))

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        refusal = "the emergency stop's button is still pressed: release it first" if self._held else ""
        return _answer(response, refusal or outcome(self._reset(), TIMEOUT))

    def _on_button(self, message: Bool) -> None:
        self._held = message.data
        if self._held and not self._latched():  # a button may say so a thousand times a second
            self._press("emergency stop by the button")


def _answer(response: Trigger.Response, refusal: str) -> Trigger.Response:
    response.success, response.message = not refusal, refusal
    return response
