"""What carries a `Randomization` out in a batch of worlds; `RobotVecEnv` calls it at its resets and steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.rotations import quat_from_vector
from robolearn.sim.random_models import RandomModels, uniform
from robolearn.sim.randomization import Randomization, Range
from robolearn.sim.state import WorldState

if TYPE_CHECKING:
    from robolearn.sim.vec_env import WorldBatch

Array = NDArray[np.float64]
Ids = NDArray[np.intp]
STREAM = 2  # draws come from seed (s, STREAM): an episode's start, from s, stays what it is without them


class Randomizer:
    """Draws each episode's values from the world's own generator, so that they depend on its seed alone.

    Attributes:
        ranges: what is drawn.
        latency: control steps by which the actions of each world come late [n].
    """

    def __init__(self, ranges: Randomization, worlds: WorldBatch, *, action_dim: int) -> None:
        """Prepare for `worlds` whose actions have `action_dim` components, the gripper's width last."""
        n, self._n_joints = worlds.num_worlds, worlds.robot.n_joints
        self.ranges, self._worlds = ranges, worlds
        self._models = RandomModels(ranges, worlds.model, worlds.task, worlds.robot)
        self._rng = [np.random.default_rng((i, STREAM)) for i in range(n)]
        self.latency: NDArray[np.int64] = np.zeros(n, np.int64)
        longest = 0 if ranges.latency is None else int(ranges.latency[1])
        self._queue: Array = np.zeros((longest + 1, n, action_dim))  # the newest first
        self._deviations: Array = np.zeros((n, 3))  # of joints, positions, rotations
        self._noisy = any(limits is not None for limits in self._noise_ranges)
        self._noise: Array = np.zeros((n, self._n_joints + 6 * len(worlds.task.bodies)))
        self._camera: Array = np.zeros((n, 6))  # shift, turn
        self._light: Array = np.tile((1.0, 0.0, 0.0), (n, 1))  # strength, tilt, azimuth

    @property
    def _noise_ranges(self) -> tuple[Range | None, ...]:
        return self.ranges.joint_noise, self.ranges.position_noise, self.ranges.rotation_noise

    def seed(self, world: int, seed: int) -> None:
        """Let the coming episodes of a world follow from `seed`."""
        self._rng[world] = np.random.default_rng((seed, STREAM))

    def begin(self, ids: Ids) -> None:
        """Draw the episodes of worlds `ids`, whose bodies have just been placed."""
        worlds = self._worlds
        draws = [self._models.draw(self._rng[i]) for i in ids]
        for i, draw in zip(ids, draws, strict=True):
            self._models.settle(worlds.qpos[i], draw.sizes)
            self._draw_rest(i)
        if self._models.fields:
            fields = {name: np.stack([draw.fields[name] for draw in draws]) for name in self._models.fields}
            worlds.write_model(ids, fields)
        # until the first action arrives the arm holds still and the gripper keeps its width
        self._queue[:, ids] = 0.0
        self._queue[:, ids, -1] = worlds.command_here()[ids, -1]
        self._stir(ids)

    def _draw_rest(self, i: int) -> None:
        rng, ranges = self._rng[i], self.ranges
        if ranges.latency is not None:
            low, high = ranges.latency
            self.latency[i] = rng.integers(int(low), int(high), endpoint=True)
        for k, limits in enumerate(self._noise_ranges):
            if limits is not None:
                self._deviations[i, k] = uniform(rng, limits, 1)[0]
        if ranges.camera_shift is not None:
            self._camera[i, :3] = uniform(rng, ranges.camera_shift, 3)
        if ranges.camera_turn is not None:
            self._camera[i, 3:] = uniform(rng, ranges.camera_turn, 3)
        if ranges.light is not None:
            self._light[i, 0] = uniform(rng, ranges.light, 1)[0]
        if ranges.light_tilt is not None:
            self._light[i, 1:] = uniform(rng, ranges.light_tilt, 1)[0], rng.uniform(0, 2 * np.pi)

    def act(self, actions: Array) -> Array:
        """Take the newest actions [n, action_dim], give those whose time has come; the sensors' noise moves on."""
        self._stir(np.arange(len(actions)))
        if len(self._queue) == 1:
            return actions
        self._queue[1:] = self._queue[:-1].copy()
        self._queue[0] = actions
        return self._queue[self.latency, np.arange(len(actions))]

    def _stir(self, ids: Ids) -> None:
        if self._noisy:
            for i in ids:
                self._noise[i] = self._rng[i].standard_normal(self._noise.shape[1])

    def perceive(self, state: WorldState) -> WorldState:
        """What the sensors make of a state; asked again before the next step they say the same."""
        if not self._noisy:
            return state
        n = len(self._noise)
        joints, positions, rotations = self._deviations.T
        bodies = self._noise[:, self._n_joints :].reshape(n, -1, 6)
        error = self._noise[:, : self._n_joints] * joints[:, None]
        # a robot knows its tool from its joints, here to first order in their errors
        tool = (self._worlds.robot.chain.forward(state.joints).jacobian() @ error[..., None])[..., 0]
        return replace(
            state,
            joints=state.joints + error,
            tool_pos=state.tool_pos + tool[:, :3],
            tool_quat=turned(state.tool_quat, tool[:, 3:]),
            body_pos=state.body_pos + bodies[..., :3] * positions[:, None, None],
            body_quat=turned(state.body_quat, bodies[..., 3:] * rotations[:, None, None]),
        )

    def look(self, ids: Ids | slice = slice(None)) -> dict[str, Any]:
        """How worlds `ids` look: arguments of `robolearn.sim.raycast.RayCamera.render`."""
        from robolearn.sim.raycast.camera import DAYLIGHT, Light

        strength, tilt, azimuth = self._light[ids].T[..., None]
        lamp = np.asarray(DAYLIGHT.towards, float) / np.linalg.norm(DAYLIGHT.towards)
        aside = np.cross(lamp, (1.0, 0.0, 0.0))
        aside /= np.linalg.norm(aside)
        away = np.cos(azimuth) * aside + np.sin(azimuth) * np.cross(lamp, aside)
        light = Light(
            towards=np.cos(tilt) * lamp + np.sin(tilt) * away,
            lamp=strength * np.asarray(DAYLIGHT.lamp),
            ambient=strength * np.asarray(DAYLIGHT.ambient),
        )
        return {"light": light, "shift": self._camera[ids, :3], "turn": self._camera[ids, 3:]}


def turned(quat: Array, vector: Array) -> Array:
    """Orientations [..., 4] turned further by rotation vectors [..., 3] in the base frame, rad."""
    turn = quat_from_vector(vector)
    (w, v), (scalar, rest) = (turn[..., :1], turn[..., 1:]), (quat[..., :1], quat[..., 1:])
    real = w * scalar - (v * rest).sum(axis=-1, keepdims=True)
    return np.concatenate((real, w * rest + scalar * v + np.cross(v, rest)), axis=-1)
