"""The contracts between the parts. A class that has these methods fits; nothing is inherited.

Arrays are NumPy, in physical units, batch first. `observation` maps channel names (see
`robolearn.schema.Schema`) to arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robolearn.schema import ActionChunk, Progress, Schema

Observation = Mapping[str, NDArray[Any]]


@runtime_checkable
class VecEnv(Protocol):
    """`num_envs` worlds of one task, stepped together at the schema's fps.

    Same face as `gymnasium.vector.VectorEnv` with autoreset disabled or in the same step. World i of a
    reset with `seed=[s_0, s_1, ...]` depends on s_i alone, never on `num_envs` or its place. `instructions`
    says what each world's present episode asks for.
    """

    num_envs: int
    schema: Schema
    instructions: list[str]
    stage_names: tuple[str, ...]
    max_episode_steps: int

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Start episodes. `options["reset_mask"]` [num_envs] bool restarts only those worlds."""

    def step(
        self, actions: NDArray[np.floating]
    ) -> tuple[
        dict[str, NDArray[Any]],
        NDArray[np.float64],
        NDArray[np.bool_],
        NDArray[np.bool_],
        dict[str, Any],
    ]:
        """Advance one control step with `actions` [num_envs, action_dim].

        Returns observation, reward, terminated, truncated and info. `terminated`: the task ended, do not
        bootstrap; `truncated`: time ran out, bootstrap from `info["final_obs"]` where the world was reset
        in the same step. `info` holds [num_envs] arrays "success" (bool), "stage" (int, index of the
        current stage; `len(stage_names)` when all are done) and "progress" (float in [0, 1]).
        """

    def close(self) -> None:
        """Release threads and windows."""


@runtime_checkable
class Policy(Protocol):
    """A black box from observations to action chunks, for RL, evaluation and deployment alike.

    Attributes:
        schema: the channels that it reads (role observation) and the action that it emits.
        n_obs_steps: frames of history it wants, oldest first.
        horizon: length of the predicted chunk.
        n_action_steps: actions to execute before asking again, unless a chunk's `n_valid` says otherwise.
        noise_shape: shape of one sample's starting noise, or None for a deterministic policy.
        reads_task: whether it reads an instruction: `observation["task"]`, an array [batch] of str without history.
    """

    schema: Schema
    n_obs_steps: int
    horizon: int
    n_action_steps: int
    noise_shape: tuple[int, ...] | None
    reads_task: bool

    def predict_chunk(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        n_samples: int = 1,
    ) -> ActionChunk:
        """Predict chunks from arrays [batch, n_obs_steps, *feature.shape].

        Args:
            observation: the channels of `schema` with role observation and, if it `reads_task`, "task"; others are
                ignored.
            noise: [batch * n_samples, *noise_shape]; drawn by the policy when None. The same noise and
                observation give the same chunk.
            n_samples: chunks per observation.

        Returns:
            values [batch, horizon, action_dim], or [batch, n_samples, horizon, action_dim] when
            `n_samples > 1`, within the action's bounds; `n_valid` where it is not always `n_action_steps`.
        """


@runtime_checkable
class ProgressEstimator(Protocol):
    """A causal estimate of how far the task is; sees no frame later than the one asked about."""

    def reset(self) -> None:
        """Begin an episode."""

    def update(self, observation: Observation, instruction: str) -> Progress:
        """Take the next frame (no batch axis) and return the progress up to it."""


@runtime_checkable
class RobotIO(Protocol):
    """A robot, real or simulated, as the control loop sees it: no ROS, no simulator."""

    schema: Schema

    def read(self) -> tuple[dict[str, NDArray[Any]], float] | None:
        """Return the newest observation (no batch axis) and its age in seconds, or None before the first."""

    def write(self, position: NDArray[np.float64]) -> None:
        """Send joint positions [n_joints] in rad, then the gripper width in m."""
