"""What people do beside a learning arm: they judge, take over, arrange the scene and stop it.

~/success, ~/failure (std_srvs/Trigger)        end the episode; so does ~/verdict (std_msgs/Bool)
~/ready (std_srvs/Trigger)                     the scene is arranged; what stopped the arm is seen to
~/intervention (std_msgs/Float64MultiArray)    a person's action, while messages come: the task's own, or
~/intervention_twist (geometry_msgs/TwistStamped)    m/s and rad/s of the tool in the base frame
"""

from __future__ import annotations

import logging
import threading
import time

import numpy as np
from geometry_msgs.msg import TwistStamped
from std_msgs.msg import Bool, Float64MultiArray

from robolearn.action_space import ActionSpace
from robolearn.protocols import Observation
from robolearn.real.handover import Action
from robolearn.real.ros2.link import Link
from robolearn.real.ros2.node import NAME
from robolearn.real.ros2.robot_io import NEWEST

log = logging.getLogger(__name__)
TAKEOVER = 0.2  # s for which a person's message holds


class Buttons:
    """Success and failure as somebody says; see `robolearn.real.scene.SuccessSource`."""

    def __init__(self, link: Link) -> None:
        """Offer services and listen to the topic."""
        self._said: bool | None = None
        link.button("success", lambda: self._say(True))
        link.button("failure", lambda: self._say(False))
        link.node.create_subscription(Bool, "~/verdict", lambda message: self._say(bool(message.data)), 10)

    def clear(self) -> None:
        """See `SuccessSource.clear`."""
        self._said = None

    def verdict(self, observation: Observation) -> bool | None:
        """See `SuccessSource.verdict`."""
        return self._said

    def _say(self, success: bool) -> None:
        self._said = success


class Takeover:
    """The newest action of a person, while messages come; see `robolearn.real.scene.Takeover`."""

    def __init__(self, link: Link, action_space: ActionSpace) -> None:
        """Listen."""
        self._names, self._dt = action_space.feature.names, action_space.dt
        self._newest: tuple[Action, bool, float] | None = None
        link.node.create_subscription(Float64MultiArray, "~/intervention", self._on_action, NEWEST)
        if "dx" in self._names:
            link.node.create_subscription(TwistStamped, "~/intervention_twist", self._on_twist, NEWEST)

    def __call__(self, held: Action) -> Action | None:
        """The action [action_dim] now; a twist leaves the gripper as it is in `held`."""
        if self._newest is None:
            return None
        values, whole, received = self._newest
        if time.monotonic() - received > TAKEOVER:
            return None
        return values if whole else np.concatenate((values, held[-1:]))

    def _on_action(self, message: Float64MultiArray) -> None:
        values = np.array(message.data, np.float32)
        if values.shape == (len(self._names),) and np.isfinite(values).all():
            self._newest = values, True, time.monotonic()
        else:
            log.warning("an intervention was left aside: it must be %d finite numbers", len(self._names))

    def _on_twist(self, message: TwistStamped) -> None:
        linear, angular = message.twist.linear, message.twist.angular
        turns = (angular.z,) if "yaw" in self._names else (angular.x, angular.y, angular.z)
        values = self._dt * np.array((linear.x, linear.y, linear.z, *turns), np.float32)
        if np.isfinite(values).all():
            self._newest = values, False, time.monotonic()


class Operator:
    """A person who looks after the arm; see `robolearn.real.scene.Scene`."""

    goes_home = True

    def __init__(self, link: Link, *, confirm: bool) -> None:
        """Ask for every scene if `confirm`, else only after something has stopped the arm."""
        self._confirm, self._pressed = confirm, threading.Event()
        link.button("ready", self._pressed.set)

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
