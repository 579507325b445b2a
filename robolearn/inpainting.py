"""Real-time chunking: a new chunk that goes on where the old one is being executed.

Black, Galliker and Levine, "Real-Time Execution of Action Chunking Flow Policies", 2025 (arXiv 2506.07339). While a
chunk is inferred, the arm executes the old one, so the new chunk's first actions are known; they and, more and more
weakly, the rest of the old chunk draw the new one while it is sampled. NumPy alone.

Time runs as in the paper: from noise at 0 to data at 1. LeRobot's runs backwards and its velocity is noise - data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robolearn.protocols import Observation
from robolearn.sampling import Model, estimates, sample
from robolearn.schema import ActionChunk

Array = NDArray[np.float32]
FLOWS = ("euler", "heun", "shortcut")  # samplers whose model is a velocity

# x and the sampler's scalars -> prediction, and W (Y - clean) times the Jacobian of the clean chunk at x
Pull = Callable[..., tuple[Array, Array]]


@runtime_checkable
class Inpainter(Protocol):
    """A `robolearn.protocols.Policy` whose chunks can go on where others end."""

    def predict_guided(
        self, observation: Observation, noise: Array | None, *, left_over: Array, frozen: int, largest: float
    ) -> ActionChunk:
        """Predict one chunk per observation, as `predict_chunk` does, that goes on with the chunk before.

        Args:
            observation: see there.
            noise: see there.
            left_over: what is left of the chunk before from this control step on, [batch, steps, action_dim].
            frozen: its first actions that are executed in any case; the chunk begins with them, bit for bit.
            largest: bound of the guidance's weight, beta of equation 2.
        """


@dataclass(frozen=True)
class Inpainting:
    """Where a chunk is drawn to.

    Attributes:
        target: Y, [B, horizon, action_dim] in the sampler's units.
        mask: the diagonal of W, [horizon].
        largest: beta.
    """

    target: Array
    mask: Array
    largest: float

    def error(self, clean: Array) -> Array:
        """W (Y - clean) for chunks [B, horizon, action_dim]."""
        return self.mask[:, None] * (self.target - clean)


def soft_mask(*, frozen: int, overlap: int, horizon: int) -> Array:
    """Weights W_i [horizon] (equation 5): 1 for frozen actions, falling along the overlap, 0 behind it.

    Args:
        frozen: d.
        overlap: actions that are left of the chunk before, H - s.
        horizon: H.
    """
    share = np.clip((overlap - np.arange(horizon)) / (overlap - frozen + 1), 0.0, 1.0)
    return (share * np.expm1(share) / np.expm1(1.0)).astype(np.float32)


def guidance_weight(time: float, *, largest: float) -> float:
    """min(beta, (1 - t) / (t r_t^2)) with r_t^2 = (1 - t)^2 / (t^2 + (1 - t)^2): equations 2 and 4."""
    product = time * (1 - time)
    return min(largest, (time**2 + (1 - time) ** 2) / product) if product > 0 else largest


def sample_guided(
    model: Model, noise: Array, description: Mapping[str, Any], towards: Inpainting, pull: Pull | None = None
) -> Array:
    """Run the sampler of a description (see `robolearn.sampling.sample`) with its model drawn towards a target.

    A velocity becomes v + weight * J^T W (Y - clean), with the clean chunk x + (1 - t) v and its Jacobian J (eq. 2).
    `largest` is cut to the number of steps: beyond it, one step would overshoot.

    With signal a and noise s, x / (a + s) of a denoiser mixes clean chunk and noise in the shares 1 - w and
    w = s / (a + s): the point at t = 1 - w of the flow that the guidance is made for.

    Args:
        model: the sampler's.
        noise: see there.
        description: see there.
        towards: the target.
        pull: gives the velocity together with J^T W (Y - clean); without it J is taken as the identity. Denoisers
            always do without: near pure noise their estimates of the clean chunk have Jacobians as large as 1 / a.
    """
    if description["name"] in FLOWS:
        bound = min(towards.largest, float(description["steps"]))
        drawn = _velocity(model, towards, bound, pull)
        return np.asarray(sample(drawn, noise, description))
    bound = min(towards.largest, float(len(description["times"])))
    # the model's estimates are cut; that which the guidance leads to lies beyond them
    return np.asarray(sample(_denoiser(model, towards, bound, description), noise, {**description, "clip": None}))


def _velocity(model: Model, towards: Inpainting, bound: float, pull: Pull | None) -> Model:
    def velocity(x: Array, time: float, *step: float) -> Array:
        if pull is None:
            predicted = model(x, time, *step)
            correction = towards.error(x + (1 - time) * predicted)
        else:
            predicted, correction = pull(x, time, *step)
        return predicted + np.float32(guidance_weight(time, largest=bound)) * correction

    return velocity


def _denoiser(model: Model, towards: Inpainting, bound: float, description: Mapping[str, Any]) -> Model:
    alphas = dict(zip(description["times"], description["alphas"], strict=False))
    prediction, clip = description["prediction"], description["clip"]

    def denoiser(x: Array, time: float) -> Array:
        signal, spread = math.sqrt(alphas[time]), math.sqrt(1 - alphas[time])
        share = spread / (signal + spread)
        clean, _ = estimates(x, model(x, time), alphas[time], prediction=prediction, clip=clip)
        clean = clean + np.float32(share * guidance_weight(1 - share, largest=bound)) * towards.error(clean)
        return clean if prediction == "sample" else (x - signal * clean) / spread

    return denoiser
