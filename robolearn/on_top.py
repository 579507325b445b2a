"""Policies on top of a policy, whatever computes what they need: steered noise, and the best of several chunks.

Online RL makes them with torch, a bundle with ONNX Runtime. Both satisfy `robolearn.protocols.Policy`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robolearn.inpainting import Inpainter
from robolearn.protocols import Observation, Policy
from robolearn.schema import ActionChunk

Array = NDArray[np.float32]
# observation [B, n_obs_steps, ...], noise [B * n_samples, *shape] and n_samples -> noise of the same shape
Steer = Callable[[Observation, Array, int], Array]
# observation [B, n_obs_steps, ...] and chunks in physical units [B, n, n_action_steps, action_dim] -> values [B, n]
Score = Callable[[Observation, Array], Array]


class _OnTop:
    """What a policy has from its base."""

    def __init__(self, base: Policy, *, noise_shape: tuple[int, ...]) -> None:
        self.base, self.schema, self.reads_task = base, base.schema, base.reads_task
        self.n_obs_steps, self.horizon, self.n_action_steps = base.n_obs_steps, base.horizon, base.n_action_steps
        self.noise_shape: tuple[int, ...] | None = noise_shape
        self._shape = noise_shape
        self._rng = np.random.default_rng()

    def _noise(self, observation: Observation, given: Array | None, n_samples: int) -> Array:
        """The noise that was given, or a draw of it [B * n_samples, *noise_shape]."""
        if given is not None:
            return given
        batch = len(observation[self.schema.observation_keys[0]])
        return self._rng.standard_normal((batch * n_samples, *self._shape), np.float32)


class Steered(_OnTop):
    """A base that starts from other noise than it is given."""

    def __init__(self, base: Policy, steer: Steer, *, noise_shape: tuple[int, ...]) -> None:
        """Steer the noise of `base`, of this shape."""
        super().__init__(base, noise_shape=noise_shape)
        self._steer = steer

    def predict_chunk(self, observation: Observation, noise: Array | None = None, n_samples: int = 1) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`."""
        given = self._noise(observation, noise, n_samples)
        return self.base.predict_chunk(observation, self._steer(observation, given, n_samples), n_samples)

    def predict_guided(
        self, observation: Observation, noise: Array | None, *, left_over: Array, frozen: int, largest: float
    ) -> ActionChunk:
        """See `robolearn.inpainting.Inpainter.predict_guided`; for a base that has it."""
        assert isinstance(self.base, Inpainter)
        steered = self._steer(observation, self._noise(observation, noise, 1), 1)
        return self.base.predict_guided(observation, steered, left_over=left_over, frozen=frozen, largest=largest)


class BestOf(_OnTop):
    """Samples several chunks of a base at once and plans the one that is worth most.

    Its noise is that of all the candidates: one candidate is the base, bit for bit. V-GPS (Nakamoto et al., "Steering
    Your Generalists", 2024) draws by the softmax of the values instead; the last noise then decides which.
    """

    def __init__(
        self, base: Policy, score: Score, *, noise_shape: tuple[int, ...], candidates: int, temperature: float = 0.0
    ) -> None:
        """Choose by `score`.

        Args:
            base: the policy.
            score: values of its chunks.
            noise_shape: of the base.
            candidates: chunks to choose from.
            temperature: of the softmax draw; 0 takes the best.
        """
        super().__init__(base, noise_shape=(candidates + (temperature > 0), *noise_shape))
        self.candidates, self.temperature, self._score = candidates, temperature, score

    def predict_chunk(self, observation: Observation, noise: Array | None = None, n_samples: int = 1) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`."""
        given = self._noise(observation, noise, n_samples)
        total = n_samples * self.candidates
        asked = np.ascontiguousarray(given[:, : self.candidates]).reshape(-1, *self._shape[1:])
        chunk = self.base.predict_chunk(observation, asked, total)
        values = chunk.values.reshape(-1, total, *chunk.values.shape[-2:])
        best = self._choose(observation, values, given)
        picked = np.arange(len(best)), best
        grouped = values.reshape(len(best), self.candidates, *values.shape[-2:])[picked]
        valid = None if chunk.n_valid is None else chunk.n_valid.reshape(len(best), self.candidates)[picked]
        shape = (n_samples,) if n_samples > 1 else ()
        return ActionChunk(
            grouped.reshape(len(values), *shape, *values.shape[-2:]),
            chunk.t0,
            chunk.dt,
            None if valid is None else valid.reshape(len(values), *shape),
        )

    def _choose(self, observation: Observation, values: Array, noise: Array) -> NDArray[np.intp]:
        """Index of one candidate [B * n_samples] for chunks [B, n_samples * candidates, horizon, action_dim]."""
        if self.candidates == 1:
            return np.zeros(len(noise), np.intp)
        scores = self._score(observation, values[:, :, : self.n_action_steps]).reshape(len(noise), self.candidates)
        if self.temperature == 0:
            return scores.argmax(axis=1)
        weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / self.temperature)
        cumulated = (weights / weights.sum(axis=1, keepdims=True)).cumsum(axis=1)
        draw = _uniform(noise[:, -1].reshape(len(noise), -1)[:, 0])
        return np.minimum((cumulated < draw[:, None]).sum(axis=1), self.candidates - 1)


def _uniform(gaussian: Array) -> Array:
    """The Gaussian distribution function: uniform in [0, 1] for Gaussian noise."""
    return np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in gaussian], np.float32)
