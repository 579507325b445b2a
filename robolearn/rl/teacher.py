"""A trained teacher: how it acts, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from robolearn.data.files import replacing
from robolearn.errors import UserError
from robolearn.rl.features import TeacherFeatures, state_keys
from robolearn.rl.ppo import ActorCritic
from robolearn.schema import Schema

Observation = Mapping[str, NDArray[Any]]


class Units:
    """Actions between the bounds of the worlds and [-1, 1] of the network."""

    def __init__(self, low: NDArray[Any], high: NDArray[Any]) -> None:
        """Bounds [action_dim]."""
        self._middle, self._half = (low + high) / 2, (high - low) / 2

    def physical(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Clipped to the bounds."""
        return (self._middle + self._half * np.clip(action, -1.0, 1.0)).astype(np.float32)

    def normalised(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Physical actions in units of the network, clipped to the bounds."""
        return np.clip((action - self._middle) / self._half, -1.0, 1.0).astype(np.float32)


class Teacher:
    """A trained actor in closed loop: the mean of its distribution, or with noise of a share of its deviation.

    It decides once in `repeat` control steps and holds the action in between.
    """

    def __init__(self, net: ActorCritic, schema: Schema, *, repeat: int, noise: float = 0.0) -> None:
        """Act in worlds with the channels of `schema`."""
        self.net, self.noise, self.repeat = net, noise, repeat
        self._held: NDArray[np.float32] | None = None
        self._age: dict[int, int] = {}
        self.features = TeacherFeatures(schema)
        action = schema.action
        self._dim, self._units = action.shape[0], Units(np.array(action.low), np.array(action.high))
        self._rng: dict[int, np.random.Generator] = {}

    def reset(self, seeds: Sequence[int], mask: NDArray[np.bool_] | None = None) -> None:
        """Begin an episode in the masked worlds."""
        for i, seed in enumerate(seeds):
            if mask is None or mask[i]:
                self._rng[i] = np.random.default_rng((seed, 1))
                self._age[i] = 0

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """Return actions [num_envs, action_dim]."""
        due = np.array([self._age[i] % self.repeat == 0 for i in range(len(self._age))])
        decided = self._decide(observation, due)
        self._held = decided if self._held is None else where(due, decided, self._held)
        for i in self._age:
            self._age[i] += 1
        return self._units.physical(self._held)

    def _decide(self, observation: Observation, due: NDArray[np.bool_]) -> NDArray[np.float32]:
        with torch.no_grad():
            action = self.net.mean(torch.from_numpy(self.features(observation)))[:, : self._dim].numpy()
            std = self.net.log_std.exp()[: self._dim].numpy()
        for i in np.flatnonzero(due) if self.noise else ():
            action[i] += self.noise * std * self._rng[int(i)].standard_normal(self._dim)
        return action


def save_teacher(folder: Path, teacher: Teacher, schema: Schema) -> None:
    """Write `teacher.safetensors` and `schema.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    schema.save(folder / "schema.json")
    tensors = {key: value.contiguous() for key, value in teacher.net.state_dict().items()}
    with replacing(folder / "teacher.safetensors") as path:
        save_file(tensors, path, {"repeat": str(teacher.repeat)})


def load_teacher(folder: Path, schema: Schema, *, noise: float = 0.0) -> Teacher:
    """Read what `save_teacher` wrote, for worlds with the channels of `schema`.

    Raises:
        UserError: there is no teacher in the folder.
        SchemaError: it was trained on other channels.
    """
    folder = folder / "teacher" if (folder / "teacher").is_dir() else folder
    path = folder / "teacher.safetensors"
    if not path.exists():
        raise UserError(f"no teacher in '{folder}': train one with `robolearn teach`, then give its `out`")
    trained = Schema.load(folder / "schema.json")
    trained.select((*state_keys(trained), "action")).require_same(
        schema.select((*state_keys(schema), "action")), what="the simulated task"
    )
    tensors = load_file(path)
    hidden, obs_dim = tensors["actor.0.weight"].shape
    extra_dim = tensors["critic.0.weight"].shape[1] - obs_dim
    net = ActorCritic(obs_dim, extra_dim, len(tensors["log_std"]), hidden=hidden, initial_std=1.0)
    net.load_state_dict(tensors)
    with safe_open(path, "pt") as file:
        repeat = int(file.metadata()["repeat"])
    return Teacher(net, schema, repeat=repeat, noise=noise)


def where(mask: NDArray[np.bool_], yes: NDArray[Any], no: NDArray[Any]) -> NDArray[Any]:
    """Rows of `yes` [n, ...] where `mask` [n] holds, else those of `no`."""
    return np.where(mask.reshape(-1, *[1] * (yes.ndim - 1)), yes, no)
