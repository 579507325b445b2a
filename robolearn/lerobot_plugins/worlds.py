"""A batch of our worlds as LeRobot's evaluation wants a Gymnasium vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from robolearn.sim.image_observations import ImageObservations
from robolearn.sim.vec_env import RobotVecEnv

GYM_KEYS = {"observation.state": "agent_pos", "observation.environment_state": "environment_state"}
PICTURES = "observation.images."
CAMERA = "external"  # whose pictures make up the videos

Obs = dict[str, Any]


class LeRobotWorlds(VectorEnv[Obs, NDArray[Any], NDArray[Any]]):
    """Wraps worlds that are reset by the caller.

    A world that has finished goes on without reward and keeps what its episode came to, until all are reset:
    LeRobot steps the batch until its last episode ends, and looks one step beyond the end of each.
    """

    def __init__(self, env: RobotVecEnv, *, render_size: int) -> None:
        """Wrap `env`; pictures that `render` gives have `render_size` pixels in width and height."""
        self._env, self._render_size = env, render_size
        self._camera: ImageObservations | None = None
        self.num_envs = env.num_envs
        fps = env.schema.fps
        self.metadata = {"render_fps": fps, "autoreset_mode": AutoresetMode.DISABLED, "render_modes": ["rgb_array"]}
        self.render_mode = "rgb_array"
        self.single_observation_space = spaces.Dict(_renamed(env.observation_boxes, spaces.Dict))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.single_action_space, self.action_space = env.single_action_space, env.action_space
        self._over, self._success = (np.zeros(self.num_envs, bool) for _ in range(2))
        self._truncated = self._over.copy()

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        """Start an episode in every world; world i of seeds [s_0, s_1, ...] depends on s_i alone."""
        observation, _ = self._env.reset(seed=seed)
        self._over[:] = self._success[:] = self._truncated[:] = False
        return _renamed(observation, dict), self._info()

    def step(
        self, actions: NDArray[np.floating]
    ) -> tuple[Obs, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Advance one control step with `actions` [num_envs, action_dim]."""
        observation, reward, terminated, truncated, info = self._env.step(actions)
        reward = np.where(self._over, 0.0, reward)
        self._success |= info["success"] & ~self._over
        self._truncated |= truncated & ~self._over
        self._over |= terminated | truncated
        over = self._over.copy()
        return _renamed(observation, dict), reward, over & ~self._truncated, over & self._truncated, self._info()

    def render(self) -> tuple[NDArray[np.uint8], ...]:
        """What a camera beside each arm sees, uint8 [height, width, 3]."""
        if self._camera is None:
            self._camera = ImageObservations(self._env.worlds, [CAMERA], size=self._render_size)
        (pictures,) = self._camera.draw().values()
        return tuple(pictures)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """What each world has or does by this name, as `gymnasium.vector.SyncVectorEnv.call`.

        Raises:
            AttributeError: another name than those that LeRobot asks for.
        """
        if name == "render":
            return self.render()
        if name == "task_description":
            return tuple(self._env.instructions)
        own = {"_max_episode_steps": self._env.max_episode_steps, "task": self._env.task.name}
        if name not in own:
            raise AttributeError(f"worlds of LeRobot have no '{name}'")
        return (own[name],) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """See `call`."""
        return self.call(name)

    def close_extras(self, **kwargs: Any) -> None:
        """Release the worlds."""
        if self._camera is not None:
            self._camera.close()
        self._env.close()

    def _info(self) -> dict[str, Any]:
        return {"is_success": self._success.copy()}


def _renamed(channels: Any, nest: Any) -> dict[str, Any]:
    """Channels under LeRobot's names for an environment; pictures by camera, nested by `nest`."""
    pictures = {key.removeprefix(PICTURES): value for key, value in channels.items() if key.startswith(PICTURES)}
    renamed = {GYM_KEYS[key]: value for key, value in channels.items() if key in GYM_KEYS}
    return renamed | ({"pixels": nest(pictures)} if pictures else {})
