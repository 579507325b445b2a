"""What people do beside an arm: they judge, take over, arrange the scene and stop it.

~/success, ~/failure (std_srvs/Trigger)        say how it went, and end a learning arm's episode; so does
~/verdict (std_msgs/Bool)
~/ready (std_srvs/Trigger)                     the scene is arranged; what stopped the arm is seen to
~/intervention (std_msgs/Float64MultiArray)    a person's action, while messages come: the task's own, or
~/intervention_twist (geometry_msgs/TwistStamped)    m/s and rad/s of the tool in the base frame, and
~/intervention_gripper (std_msgs/Float64)      with it the gripper's opening, 0 closed to 1 open, or
sensor_msgs/Joy                                a joystick, while its dead-man button is held
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from sensor_msgs.msg import Joy
from std_msgs.msg import Bool, Float64, Float64MultiArray

from robolearn.action_space import ActionSpace
from robolearn.protocols import Observation
from robolearn.real.joystick import Joystick, Wish
from robolearn.real.ros2.link import button
from robolearn.real.ros2.policy_controller import NAME
from robolearn.real.ros2.robot_io import NEWEST
from robolearn.real.takeover import Action, action_of_twist

log = logging.getLogger(__name__)
TAKEOVER = 0.2  # s for which a person's message holds


def hear_verdicts(node: Node, say: Callable[[bool], str | None]) -> None:
    """Offer services and listen to a topic by which somebody says how it went; `say` may answer why not."""
    button(node, "success", lambda: say(True))
    button(node, "failure", lambda: say(False))
    node.create_subscription(Bool, "~/verdict", lambda message: say(bool(message.data)), 10)


class Buttons:
    """Success and failure as somebody says; see `robolearn.real.scene.SuccessSource`."""

    def __init__(self, node: Node) -> None:
        """Offer services and listen to the topic."""
        self._said: bool | None = None
        hear_verdicts(node, self._say)

    def clear(self) -> None:
        """See `SuccessSource.clear`."""
        self._said = None

    def verdict(self, observation: Observation) -> bool | None:
        """See `SuccessSource.verdict`."""
        return self._said

    def _say(self, success: bool) -> None:
        self._said = success


class Takeover:
    """The newest action of a person, while messages come; see `robolearn.real.takeover.Takeover`."""

    def __init__(
        self, node: Node, action_space: ActionSpace, *, joystick: Joystick | None = None, joy_topic: str = ""
    ) -> None:
        """Listen; to a joystick, too, where there is one."""
        self._names, self._dt = action_space.feature.names, action_space.dt
        self._full = action_space.robot.gripper_width
        self._newest: tuple[Action | Wish, float] | None = None
        self._opening: tuple[float, float] | None = None  # of the gripper in the present takeover, and when it was said
        node.create_subscription(Float64MultiArray, "~/intervention", self._on_action, NEWEST)
        if "dx" not in self._names:
            return
        node.create_subscription(TwistStamped, "~/intervention_twist", self._on_twist, NEWEST)
        node.create_subscription(Float64, "~/intervention_gripper", self._on_gripper, NEWEST)
        if joystick is not None:
            node.create_subscription(Joy, joy_topic, lambda message: self._on_joy(joystick, message), NEWEST)

    def __call__(self, held: Action) -> Action | None:
        """The action [action_dim] now; a twist leaves the gripper as it is in `held`, unless its opening was said."""
        newest = self._newest
        if newest is None:
            return None
        wanted, received = newest
        if _is_over(received):
            return None
        if not isinstance(wanted, Wish):
            return wanted
        opening = self._opening
        width = float(held[-1]) if opening is None else opening[0] * self._full
        return action_of_twist(self._names, wanted.twist, width, dt=self._dt)

    def _take(self, wanted: Action | Wish) -> None:
        begins = self._newest is None or _is_over(self._newest[1])
        if begins and self._opening is not None and _is_over(self._opening[1]):
            self._opening = None  # it was said in another takeover
        self._newest = wanted, time.monotonic()

    def _on_action(self, message: Float64MultiArray) -> None:
        values = np.array(message.data, np.float32)
        if values.shape == (len(self._names),) and np.isfinite(values).all():
            self._take(values)
        else:
            log.warning("an intervention was left aside: it must be %d finite numbers", len(self._names))

    def _on_twist(self, message: TwistStamped) -> None:
        linear, angular = message.twist.linear, message.twist.angular
        twist = np.array((linear.x, linear.y, linear.z, angular.x, angular.y, angular.z))
        if np.isfinite(twist).all():
            self._take(Wish(twist))

    def _on_gripper(self, message: Float64) -> None:
        if np.isfinite(message.data):
            self._opening = float(np.clip(message.data, 0.0, 1.0)), time.monotonic()

    def _on_joy(self, joystick: Joystick, message: Joy) -> None:
        if (wish := joystick.wish(message.axes, message.buttons)) is not None:
            if wish.opening is not None:
                self._opening = wish.opening, time.monotonic()
            self._take(wish)
        elif self._newest is not None and isinstance(self._newest[0], Wish):
            self._newest = None  # the button was let go


def _is_over(received: float) -> bool:
    return time.monotonic() - received > TAKEOVER


class Operator:
    """A person who looks after the arm; see `robolearn.real.scene.Scene`."""

    goes_home = True

    def __init__(self, node: Node, *, confirm: bool) -> None:
        """Ask for every scene if `confirm`, else only after something has stopped the arm."""
        self._confirm, self._pressed = confirm, threading.Event()
        button(node, "ready", self._pressed.set)

    def recover(self, reason: str) -> None:
        """See `Scene.recover`."""
        self._ask(f"the arm stopped: {reason}. It goes home when you call /{NAME}/ready")

    def arrange(self, seed: int) -> None:
        """See `Scene.arrange`."""
        if self._confirm:
            self._ask(f"arrange the scene, then call /{NAME}/ready")

    def _ask(self, sentence: str) -> None:
        self._pressed.clear()
        log.warning(sentence)
        self._pressed.wait()
