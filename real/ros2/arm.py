"""A ROS 2 arm for online RL: `robolearn.real.arm_env.ArmEnv` on the topics of deployment.

The node has the name of deployment's, so that an arm needs no other driver. Besides what `robolearn.real.ros2.people`
says, `~/stop` (std_srvs/Trigger) brakes and ends the episode; nothing moves before `~/ready`. The emergency stop is
that of deployment (`robolearn.real.ros2.estop`): after its reset, too, nothing moves before `~/ready`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from std_msgs.msg import Int64, String

from robolearn.action_space import ActionSpace
from robolearn.errors import UserError
from robolearn.proprioception import objects_of, poses_feature
from robolearn.protocols import Observation
from robolearn.real.arm_env import ArmEnv
from robolearn.real.collision import collision_check
from robolearn.real.offer import POSES
from robolearn.real.requests import outcome
from robolearn.real.ros2.estop import EmergencyStop
from robolearn.real.ros2.link import Link, button
from robolearn.real.ros2.node import STOP_TIMEOUT
from robolearn.real.ros2.people import Buttons, Operator, Takeover
from robolearn.real.ros2.robot_io import RIVAL
from robolearn.real.ros2.simulated_arm import EPISODE, RESET
from robolearn.real.settings import Settings
from robolearn.safety_settings import SafetySettings
from robolearn.schema import Schema

ANSWER_TIMEOUT = 10.0  # s for a simulated arm to begin an episode


class SimulatedScene:
    """A simulated arm, which puts itself and its objects where an episode begins; it knows success, too."""

    goes_home = False

    def __init__(self, link: Link, buttons: Buttons) -> None:
        """Listen to the arm's news; the buttons count as well."""
        self._link, self._buttons = link, buttons
        self._news: dict[str, Any] = {"resets": -1}
        self._reset = link.node.create_publisher(Int64, RESET, 10)
        link.node.create_subscription(String, EPISODE, self._on_news, 10)

    def recover(self, reason: str) -> None:
        """A new episode mends what there may be; `arrange` says if there is no arm any more."""

    def arrange(self, seed: int) -> None:
        """Begin the episode of a seed.

        Raises:
            UserError: the arm does not answer.
        """
        wait, robot = self._link.wait, self._link.robot
        wait(lambda: self._news["resets"] >= 0, "the simulated arm", ANSWER_TIMEOUT)
        wait(lambda: self._reset.get_subscription_count() > 0, "the simulated arm's reset topic", ANSWER_TIMEOUT)
        before = self._news["resets"]
        self._reset.publish(Int64(data=seed))
        wait(
            lambda: self._news["resets"] > before and self._news["seed"] == seed,
            "the simulated arm's reset",
            ANSWER_TIMEOUT,
        )
        begun = time.monotonic()

        def seen() -> bool:  # what was seen before is of another place
            return (age := robot.age()) is not None and age < time.monotonic() - begun

        wait(seen, "the simulated arm's joint states", ANSWER_TIMEOUT)

    def clear(self) -> None:
        """See `SuccessSource.clear`: what the arm says is of its present episode anyway."""
        self._buttons.clear()

    def verdict(self, observation: Observation) -> bool | None:
        """See `SuccessSource.verdict`."""
        return True if self._news["success"] else self._buttons.verdict(observation)

    def _on_news(self, message: String) -> None:
        self._news = json.loads(message.data)


class RosArmEnv(ArmEnv):
    """An `ArmEnv` on ROS 2 topics."""

    def __init__(
        self,
        *,
        schema: Schema,
        action_space: ActionSpace,
        settings: Settings,
        safety: SafetySettings | None = None,
        collision: str | None = None,
        simulated: bool,
        confirm: bool,
        domain: int | None,
        instruction: str,
        stage_names: Sequence[str],
        max_episode_steps: int,
    ) -> None:
        """Connect to an arm; see `ArmEnv`.

        Args:
            schema: channels of the task; nothing but joints and object poses is read.
            action_space: of the actions.
            settings: of the control loop.
            safety: its limits and watchdogs.
            collision: text of the collision model; see `robolearn.real.collision`.
            simulated: whether the arm is `robolearn.real.ros2.simulated_arm`, which resets itself and knows success.
            confirm: whether a person says that each scene is ready.
            domain: ROS domain, that of ROS_DOMAIN_ID when None.
            instruction: of the task.
            stage_names: of the task.
            max_episode_steps: of the task.

        Raises:
            UserError: no arm answers, another node commands it, or the task has channels that an arm has not.
        """
        require_readable(schema)
        spec, safety = action_space.robot, SafetySettings() if safety is None else safety
        collisions = collision_check(collision, robot=spec, safety=safety, where=f"robot '{spec.name}'")
        with ExitStack() as stack:
            self._link = Link(schema=schema, robot=spec, domain=domain)
            stack.callback(self._link.close)
            buttons = Buttons(self._link.node)
            simulation = SimulatedScene(self._link, buttons) if simulated else None
            takeover = Takeover(self._link.node, action_space)
            operator = Operator(self._link.node, confirm=confirm)
            button(self._link.node, "stop", lambda: outcome(self.stop(), STOP_TIMEOUT))
            super().__init__(
                robot=self._link.robot,
                scene=simulation or operator,
                success=simulation or buttons,
                person=takeover,
                schema=schema,
                action_space=action_space,
                settings=settings,
                safety=safety,
                collisions=collisions,
                alarms=self._link.robot.alarms(safety),
                instruction=instruction,
                stage_names=stage_names,
                max_episode_steps=max_episode_steps,
            )
            stack.callback(super().close)
            EmergencyStop(self._link.node, press=self.estop, reset=self.reset_estop, latched=lambda: self.estopped)
            self._link.connect()
            self._link.robot.watch_rivals(lambda: self.stop(RIVAL))
            self._opened = stack.pop_all()

    def close(self) -> None:
        """Bring the arm to rest and leave the domain."""
        self._opened.close()


def require_readable(schema: Schema) -> None:
    """Check that an arm gives these channels.

    Raises:
        UserError: naming one that it does not.
    """
    for key in schema.observation_keys:
        pictures = len(schema[key].shape) == 3
        chosen = key == POSES and schema[key] != poses_feature(objects_of(schema[key]))
        if pictures or chosen:
            what = "pictures" if pictures else "what is asked for"
            raise UserError(f"channel '{key}' holds {what}, which learning on an arm does not read: take another task")
