"""Our tasks as environments of LeRobot's commands, `--env.type=robolearn`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs import EnvConfig

from robolearn.lerobot_plugins.worlds import GYM_KEYS, PICTURES, LeRobotWorlds
from robolearn.schema import Schema
from robolearn.sim import image_observations
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.robots import get_robot
from robolearn.sim.tasks import make_task
from robolearn.sim.vec_env import make_schema

TYPES = {
    "action": FeatureType.ACTION,
    "observation.state": FeatureType.STATE,
    "observation.environment_state": FeatureType.ENV,
}


@EnvConfig.register_subclass("robolearn")
@dataclass
class RobolearnEnv(EnvConfig):
    """A task on an arm.

    Attributes:
        task: name; see `robolearn.sim.tasks.TASKS`.
        fps: control rate in Hz.
        robot: name of the arm; see `robolearn.sim.robots.ROBOTS`.
        action_space: one of `robolearn.action_space.ACTION_SPACES`; the task's own when None.
        episode_length: control steps until truncation; what the task needs when None.
        cameras: those whose pictures are observed, e.g. [external, wrist].
        image_size: width and height of their pictures in pixels.
        threads: CPU threads that step and draw the worlds, which are one batch in one process.
        render_size: width and height in pixels of the videos that LeRobot writes.
    """

    task: str | None = "lift"
    fps: int = 20
    robot: str = "panda"
    action_space: str | None = None
    episode_length: int | None = None
    cameras: list[str] = field(default_factory=list)
    image_size: int = 84
    threads: int = 1
    render_size: int = 240

    def __post_init__(self) -> None:
        """Say which channels there are, under LeRobot's names for an environment and under ours.

        Raises:
            UserError: an unknown task, robot or action space.
        """
        channels = {key: f for key, f in self.schema.features.items() if f.role in ("observation", "action")}
        self.features = {
            GYM_KEYS.get(key, key): PolicyFeature(TYPES.get(key, FeatureType.VISUAL), feature.shape)
            for key, feature in channels.items()
        }
        self.features_map = {GYM_KEYS.get(key, key): key for key in channels}

    @property
    def schema(self) -> Schema:
        """Channels of the task."""
        task = make_task(self.task or "")
        space = task.action_space if self.action_space is None else self.action_space
        picture = image_observations.KINDS["images"].feature(self.image_size)
        pictures = {PICTURES + camera: picture for camera in self.cameras}
        return make_schema(task, get_robot(self.robot), action_space=space, fps=self.fps, images=pictures)

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """Nothing: the worlds are not made one by one."""
        return {}

    def create_envs(self, n_envs: int, use_async_envs: bool = False) -> dict[str, dict[int, LeRobotWorlds]]:
        """Return {"robolearn": {0: a batch of `n_envs` worlds}}.

        Args:
            n_envs: worlds.
            use_async_envs: makes no difference, for the batch needs no process per world.
        """
        worlds = MujocoVecEnv(
            self.task or "",
            self.robot,
            num_envs=n_envs,
            threads=self.threads,
            fps=self.fps,
            action_space=self.action_space,
            max_episode_steps=self.episode_length,
            autoreset=False,
            cameras=self.cameras,
            image_size=self.image_size,
        )
        return {self.type: {0: LeRobotWorlds(worlds, render_size=self.render_size)}}
