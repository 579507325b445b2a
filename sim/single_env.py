"""One world as a `gymnasium.Env`, for tools that want no batch; importing this module registers its ids.

    import gymnasium
    import robolearn.sim.single_env
    env = gymnasium.make("robolearn/Lift-v0", render_mode="rgb_array")

or, importing on the way, `gymnasium.make("robolearn.sim.single_env:robolearn/Lift-v0")`.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.image_observations import ImageObservations
from robolearn.sim.tasks import TASKS
from robolearn.sim.vec_env import Obs

RENDER_MODES = ("rgb_array",)
RENDER_SIZE = 480  # pixels
ENDLESS = int(np.iinfo(np.int64).max)


class RobotEnv(gymnasium.Env[Obs, NDArray[np.float32]]):
    """`robolearn.sim.vec_env.RobotVecEnv` with one world and without its leading axis.

    Episodes end only in success: `gymnasium.make` adds the time limit of its `max_episode_steps`, as everywhere in
    Gymnasium. A reset with seed s starts as a world of the batch with seed s does. `info` holds "is_success", which
    LeRobot reads, "stage" and "progress".
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES)}  # noqa: RUF012 (Gymnasium's)

    def __init__(self, task: str = "lift", *, render_mode: str | None = None, **options: Any) -> None:
        """Make the world.

        Args:
            task: name; see `robolearn.sim.tasks.TASKS`.
            render_mode: "rgb_array", or None to draw nothing.
            **options: of `robolearn.sim.backends.mujoco.MujocoVecEnv`, e.g. `reward`, `action_space`, `cameras`.

        Raises:
            UserError: an unknown name.
        """
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise UserError(f"unknown render_mode '{render_mode}'{nearest(render_mode, RENDER_MODES)}")
        self._worlds = MujocoVecEnv(task, num_envs=1, max_episode_steps=ENDLESS, autoreset=False, **options)
        self.schema = self._worlds.schema
        self.observation_space = self._worlds.single_observation_space
        self.action_space = self._worlds.single_action_space
        self.render_mode = render_mode
        self._camera = ImageObservations(self._worlds.worlds, ["external"], size=RENDER_SIZE) if render_mode else None
        self.metadata = {**self.metadata, "render_fps": self.schema.fps}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Start an episode; without a seed, the next of those that the last one gave."""
        super().reset(seed=seed)
        start = int(self.np_random.integers(2**31)) if seed is None else seed
        observation, info = self._worlds.reset(seed=[start])
        self.task_description = self._worlds.instructions[0]
        return _first(observation), _single(info)

    def step(self, action: NDArray[np.floating]) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Advance one control step; truncation is left to the wrapper."""
        observation, reward, terminated, _, info = self._worlds.step(np.asarray(action)[None])
        return _first(observation), float(reward[0]), bool(terminated[0]), False, _single(info)

    def render(self) -> NDArray[np.uint8] | None:
        """What the external camera sees, uint8 [height, width, 3], or None without a render mode."""
        if self._camera is None:
            return None
        randomizer = self._worlds.randomizer
        (picture,) = self._camera.draw(None if randomizer is None else randomizer.look).values()
        return picture[0]

    def close(self) -> None:
        """Release the world."""
        if self._camera is not None:
            self._camera.close()
        self._worlds.close()


def _first(observation: Obs) -> Obs:
    return {key: values[0] for key, values in observation.items()}


def _single(info: dict[str, Any]) -> dict[str, Any]:
    return {
        "is_success": bool(info["success"][0]),
        "stage": int(info["stage"][0]),
        "progress": float(info["progress"][0]),
    }


def env_id(task: str) -> str:
    """Gymnasium's id of a task, e.g. "robolearn/Lift-v0"."""
    return f"robolearn/{task.title().replace('_', '')}-v0"


for _task in TASKS.values():
    gymnasium.register(
        env_id(_task.name),
        entry_point="robolearn.sim.single_env:RobotEnv",
        kwargs={"task": _task.name},
        max_episode_steps=_task.max_episode_steps,
    )
