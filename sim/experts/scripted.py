"""Scripted experts: from the stage that an observation is in to a displacement of the tool.

They read the same observation channels as a policy, so one expert serves every backend. Noise comes from
a generator per world, seeded at its reset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.action_space import MAX_ANGULAR_STEP, MAX_LINEAR_STEP
from robolearn.errors import UserError, nearest
from robolearn.proprioception import POSE_DIM, objects_of
from robolearn.schema import Schema

Array = NDArray[np.float64]
GAIN = 0.3  # share of the remaining way per control step
HOVER = 0.08  # m above an object while approaching
JITTER = 0.5  # standard deviation of a step at noise 1, as a share of the largest step
OPEN, CLOSED = 1.0, 0.0  # share of the gripper's width


class Scene:
    """Named parts of a batch of observations."""

    def __init__(self, observation: Mapping[str, NDArray[Any]], schema: Schema) -> None:
        """Slice `observation` [n, dim] by the names in `schema`."""
        state = np.asarray(observation["observation.state"], np.float64)
        at = schema["observation.state"].names.index("gripper_width")
        self.width, tool = state[:, at], state[:, at + 1 :]
        self.tool_pos, self.tool_yaw = tool[:, :3], _yaw(tool)
        poses = np.asarray(observation["observation.environment_state"], np.float64)
        names = objects_of(schema["observation.environment_state"])
        pose = {name: poses[:, POSE_DIM * k : POSE_DIM * (k + 1)] for k, name in enumerate(names)}
        self.pos = {name: values[:, :3] for name, values in pose.items()}
        self.yaw = {name: _yaw(values) for name, values in pose.items()}


class ScriptedExpert:
    """Demonstrates a task in `num_envs` worlds, imperfectly if asked.

    Attributes:
        noise: 0 is clean. Each step's displacement gets Gaussian noise of this share of the largest one,
            each episode aims beside the object by `noise` times `AIM_ERROR`.
    """

    AIM_ERROR = 0.02  # m, standard deviation of the aim at noise 1

    def __init__(self, task: str, schema: Schema, num_envs: int, *, noise: float = 0.0) -> None:
        """Prepare the expert of `task` for the action space `ee_delta` of `schema`."""
        if task not in SCRIPTS:
            raise UserError(f"no scripted expert for task '{task}'{nearest(task, SCRIPTS)}")
        if schema.action.names[:4] != ("dx", "dy", "dz", "yaw"):
            raise UserError("the scripted expert acts in task.action_space=ee_delta")
        if noise < 0:
            raise UserError("expert.noise must be 0 or more")
        self.script, self.schema, self.noise = SCRIPTS[task], schema, noise
        self._low, self._high = np.array(schema.action.low), np.array(schema.action.high)
        self._rng = [np.random.default_rng(i) for i in range(num_envs)]
        self._aim = np.zeros((num_envs, 3))

    def reset(self, seeds: Sequence[int], mask: NDArray[np.bool_] | None = None) -> None:
        """Begin an episode in the masked worlds (all when None)."""
        for i in range(len(self._rng)):
            if mask is None or mask[i]:
                self._rng[i] = np.random.default_rng((seeds[i], 1))
                self._aim[i] = self._rng[i].standard_normal(3) * (1, 1, 0.5) * self.AIM_ERROR * self.noise

    def act(self, observation: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return actions [num_envs, action_dim]."""
        move, yaw, opening = self.script(Scene(observation, self.schema), self._aim)
        jitter = np.stack([rng.standard_normal(4) for rng in self._rng]) * self.noise * JITTER
        move = np.clip(GAIN * move, -MAX_LINEAR_STEP, MAX_LINEAR_STEP) + jitter[:, :3] * MAX_LINEAR_STEP
        yaw = np.clip(GAIN * yaw, -MAX_ANGULAR_STEP, MAX_ANGULAR_STEP) + jitter[:, 3] * MAX_ANGULAR_STEP
        width = opening * self._high[-1]
        action = np.concatenate((move, yaw[:, None], width[:, None]), axis=1)
        return np.clip(action, self._low, self._high).astype(np.float32)


def _yaw(pose: Array) -> Array:
    # turn about the vertical in rad: where the body's x axis points
    return np.arctan2(pose[:, 4], pose[:, 3])


def lift(scene: Scene, aim: Array) -> tuple[Array, Array, Array]:
    """Way to go [n, 3] in m, turn [n] in rad, opening [n] of the lift task."""
    cube, tool = scene.pos["cube"], scene.tool_pos
    way = cube + aim - tool
    turn = scene.yaw["cube"] - scene.tool_yaw
    turn = (turn + np.pi / 4) % (np.pi / 2) - np.pi / 4  # a cube looks the same every quarter turn
    near = np.linalg.norm(cube - tool, axis=1) < 0.015 + np.linalg.norm(aim, axis=1)
    arrived = np.linalg.norm(way, axis=1) < 0.010
    held = near & (scene.width < 0.052)
    aligned = (np.linalg.norm(way[:, :2], axis=1) < 0.012) & (np.abs(turn) < 0.15)
    hover = way + np.where(aligned, 0.0, HOVER)[:, None] * (0, 0, 1)
    move = np.where(held[:, None], (0.0, 0.0, 0.1), np.where(arrived[:, None], 0.0, hover))
    # the fingers stay closed while anything is between them
    closing = arrived | held | (near & (scene.width < 0.07))
    return move, np.where(held, 0.0, turn), np.where(closing, CLOSED, OPEN)


SCRIPTS: dict[str, Callable[[Scene, Array], tuple[Array, Array, Array]]] = {"lift": lift}
