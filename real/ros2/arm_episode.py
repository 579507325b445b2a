"""What the simulated arm simulates, and the record of an episode in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.robot import RobotSpec

Array = NDArray[np.float64]


class PlantState(Protocol):
    """Arrays over one world [1, ...]; see `robolearn.sim.state.WorldState`."""

    @property
    def joints(self) -> Array:
        """Arm joint positions."""

    @property
    def joint_velocities(self) -> Array:
        """Arm joint velocities."""

    @property
    def width(self) -> Array:
        """Gripper opening."""

    @property
    def objects(self) -> dict[str, tuple[Array, Array]]:
        """Position and orientation of each object."""


class Plant(Protocol):
    """A simulated arm with objects."""

    robot: RobotSpec
    objects: tuple[str, ...]

    @property
    def state(self) -> PlantState:
        """Present state."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras that there are."""

    @property
    def effort(self) -> Array:
        """Torques of the arm's servos [n_joints] in N m."""

    @property
    def pose(self) -> Array:
        """Where everything is [size], for rendering later."""

    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """What each camera sees [height, width, 3]."""

    def reset(self, seed: int) -> None:
        """Begin the episode of a seed."""

    def step(self, command: Array | None) -> None:
        """Advance one control period towards a command [n_joints + 1]; None holds the pose after the reset."""

    def hold(self) -> None:
        """Advance one control period towards the command of the last one."""

    def stage(self) -> tuple[int, bool]:
        """Index of the current stage and whether the task is done."""


class Episode:
    """Progress and recording of one episode."""

    def __init__(self, seed: int, count: int) -> None:
        """Begin the episode of `seed`, the `count`-th reset."""
        self.seed, self.count = seed, count
        self.elapsed = 0.0
        self.begun = self.success = False
        self.success_at: float | None = None
        self.stage = 0
        self._frames: list[dict[str, Any]] = []

    def advance(self, period: float) -> None:
        """Count simulated time from the first command on."""
        self.elapsed += period * self.begun

    def judge(self, stage: int, done: bool) -> None:
        """Take the task's verdict on the present state; success stays."""
        self.stage = stage
        if done and self.begun and not self.success:
            self.success, self.success_at = True, self.elapsed

    def record(self, plant: Plant) -> None:
        """Keep a frame."""
        state = plant.state
        frame: dict[str, Any] = {
            "time": self.elapsed,
            "pose": plant.pose.copy(),
            "joints": state.joints[0],
            "width": state.width[0],
            "stage": self.stage,
            "success": self.success,
        }
        frame |= {
            f"objects.{name}": np.concatenate([part[0] for part in state.objects[name]]) for name in plant.objects
        }
        self._frames.append(frame)

    def save(self, folder: Path) -> None:
        """Write `episode_<seed>.npz` with one array per kind of data, [frames, ...], in one piece."""
        if not self._frames:
            return
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".episode_{self.seed}.{os.getpid()}.npz"
        columns: dict[str, Any] = {key: np.stack([frame[key] for frame in self._frames]) for key in self._frames[0]}
        np.savez_compressed(temporary, **columns)
        os.replace(temporary, folder / f"episode_{self.seed}.npz")

    def to_json(self, *, holding: bool) -> str:
        """What `/arm/episode` says."""
        return json.dumps(
            {
                "seed": self.seed,
                "resets": self.count,
                "elapsed": round(self.elapsed, 3),
                "success": self.success,
                "success_at": self.success_at,
                "stage": self.stage,
                "holding": holding,
            }
        )
