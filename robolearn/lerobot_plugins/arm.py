"""An arm at one of our tasks as a LeRobot robot, for `lerobot-rollout`.

LeRobot keeps only those scalars of a robot whose names end in ".pos" or ".vel" and puts all that are observed into
`observation.state`. So every component of our channels has a name with ".pos", whatever it is, and the policy's
processors cut the channels out again; see `robolearn.policies.lerobot_processors.SplitStateStep`.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

import numpy as np
from lerobot.robots import Robot
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.lerobot_plugins.config_arm import SimulatedArmConfig
from robolearn.lerobot_plugins.environment import RobolearnEnv
from robolearn.lerobot_plugins.worlds import PICTURES
from robolearn.schema import Feature, Schema
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.vec_env import RobotVecEnv

logger = logging.getLogger(__name__)
ENDLESS = int(np.iinfo(np.int64).max)  # a robot knows no end of an episode


class SimulatedArm(Robot):
    """Stands still between actions; each advances the world by one control step."""

    config_class = SimulatedArmConfig
    name = "robolearn_arm"

    def __init__(self, config: SimulatedArmConfig) -> None:
        """Prepare; `connect` makes the world.

        Raises:
            UserError: an unknown task, robot or action space.
        """
        super().__init__(config)
        self.config = config
        self.success = False  # whether the task has been done since `connect`
        self._env: RobotVecEnv | None = None
        self._seen: dict[str, NDArray[Any]] = {}

    @cached_property
    def schema(self) -> Schema:
        """Channels of the task."""
        config = self.config
        env = RobolearnEnv(
            task=config.task,
            robot=config.robot,
            action_space=config.action_space,
            fps=config.fps,
            cameras=config.cameras,
            image_size=config.image_size,
        )
        hidden = () if config.objects else ("observation.environment_state",)
        return env.schema.select([key for key in env.schema if key not in hidden])

    @property
    def observation_features(self) -> dict[str, Any]:
        """Components of the channels, and pictures by camera."""
        features: dict[str, Any] = {}
        for key in self.schema.observation_keys:
            feature = self.schema[key]
            if key.startswith(PICTURES):
                features[key.removeprefix(PICTURES)] = feature.shape
            else:
                features |= dict.fromkeys(_scalars(feature), float)
        return features

    @property
    def action_features(self) -> dict[str, type]:
        """Components of the action."""
        return dict.fromkeys(_scalars(self.schema.action), float)

    @property
    def is_connected(self) -> bool:
        """Whether there is a world."""
        return self._env is not None

    @property
    def is_calibrated(self) -> bool:
        """A simulated arm is."""
        return True

    def connect(self, calibrate: bool = True) -> None:
        """Make the world and start an episode."""
        config = self.config
        self._env = MujocoVecEnv(
            config.task,
            config.robot,
            fps=config.fps,
            action_space=config.action_space,
            max_episode_steps=ENDLESS,
            autoreset=False,
            cameras=config.cameras,
            image_size=config.image_size,
        )
        self._seen, _ = self._env.reset(seed=config.seed)
        self.success = False

    def calibrate(self) -> None:
        """Do nothing: there is nothing to calibrate."""

    def configure(self) -> None:
        """Do nothing: there is nothing to set."""

    def get_observation(self) -> dict[str, Any]:
        """Return what the arm sees now.

        Raises:
            UserError: it is not connected.
        """
        self._connected()
        observation: dict[str, Any] = {}
        for key in self.schema.observation_keys:
            values = self._seen[key][0]
            if key.startswith(PICTURES):
                observation[key.removeprefix(PICTURES)] = values
            else:
                observation |= dict(zip(_scalars(self.schema[key]), values.tolist(), strict=True))
        return observation

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Advance one control step.

        Raises:
            UserError: it is not connected, or the action has other components.
        """
        env, names = self._connected(), tuple(self.action_features)
        if missing := [name for name in names if name not in action]:
            raise UserError(
                f"the action lacks '{missing[0]}': this arm takes {', '.join(names)}; it cannot drive to joint "
                "positions, so give --return_to_initial_position=false"
            )
        values = np.array([[action[name] for name in names]], np.float32)
        self._seen, _, _, _, info = env.step(values)
        if info["success"][0] and not self.success:
            self.success = True
            logger.info("the task is done: %s", env.instructions[0])
        return action

    def disconnect(self) -> None:
        """Release the world."""
        self._connected().close()
        self._env = None

    def _connected(self) -> RobotVecEnv:
        if self._env is None:
            raise UserError("the simulated arm is not connected: call connect() first")
        return self._env


def _scalars(feature: Feature) -> tuple[str, ...]:
    return tuple(f"{name}.pos" for name in feature.names)
