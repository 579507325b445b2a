"""Scripted experts of other people's tasks as one actor, with the noise of `robolearn.sim.experts.scripted`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.schema import Schema
from robolearn.sim.experts.fetch import fetch_pick_and_place
from robolearn.sim.experts.metaworld import metaworld
from robolearn.sim.experts.robosuite import lift, nut_assembly_square
from robolearn.sim.experts.scripted import JITTER, ScriptedExpert

Array = NDArray[np.float64]
Scene = Mapping[str, Array]  # observation channels of one world
Act = Callable[[Scene, Array], Array]  # scene and aim [3], m -> action [action_dim]; remembers its episode
Begin = Callable[[str, Schema], Act]  # task name and channels -> an episode's script

SCRIPTS: dict[str, Begin] = {  # how a task's name begins: its script
    "Meta-World/": metaworld,
    "FetchPickAndPlace-v": fetch_pick_and_place,
    "robosuite/Lift": lift,
    "robosuite/NutAssemblySquare": nut_assembly_square,
}


class AdaptedExpert:
    """Demonstrates somebody else's task in `num_envs` worlds, imperfectly if asked.

    Noise is that of our own tasks. Each step's action gets Gaussian noise of `noise` times `JITTER` of its bounds, all
    but the gripper, which comes last. In each episode the script believes its hand beside where it is, with a standard
    deviation of `noise` times `ScriptedExpert.AIM_ERROR`, half of that along the vertical.
    """

    def __init__(self, task: str, schema: Schema, num_envs: int, *, noise: float = 0.0) -> None:
        """Prepare the expert of `task`, named as in `robolearn.sim.backends.adapted.AdaptedVecEnv.task_name`.

        Raises:
            UserError: nobody has written a script for the task, or a negative noise.
        """
        begin = next((script for start, script in SCRIPTS.items() if task.startswith(start)), None)
        if begin is None:
            raise UserError(f"no scripted expert for task '{task}'{nearest(task, SCRIPTS)}")
        if noise < 0:
            raise UserError("expert.noise must be 0 or more")
        self.noise, self._begin, self._task, self._schema = noise, begin, task, schema
        self._keys = [key for key in schema.observation_keys if schema[key].dtype == "float32"]
        self._low, self._high = np.array(schema.action.low), np.array(schema.action.high)
        self._rng = [np.random.default_rng(i) for i in range(num_envs)]
        self._aim = np.zeros((num_envs, 3))
        self._acts = [begin(task, schema) for _ in range(num_envs)]

    def reset(self, seeds: Sequence[int], mask: NDArray[np.bool_] | None = None) -> None:
        """Begin an episode in the masked worlds (all when None)."""
        for i in range(len(self._rng)):
            if mask is None or mask[i]:
                self._rng[i] = np.random.default_rng((seeds[i], 1))
                self._aim[i] = self._rng[i].standard_normal(3) * (1, 1, 0.5) * ScriptedExpert.AIM_ERROR * self.noise
                self._acts[i] = self._begin(self._task, self._schema)

    def act(self, observation: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return actions [num_envs, action_dim]."""
        scenes = {key: np.asarray(observation[key], np.float64) for key in self._keys}
        actions = []
        for i, (act, rng) in enumerate(zip(self._acts, self._rng, strict=True)):
            action = act({key: values[i] for key, values in scenes.items()}, self._aim[i])
            action[:-1] += rng.standard_normal(len(action) - 1) * self.noise * JITTER * self._high[:-1]
            actions.append(action)
        return np.clip(actions, self._low, self._high).astype(np.float32)
