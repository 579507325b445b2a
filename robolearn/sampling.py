"""Samplers that draw action chunks with a learned network; plain arithmetic, so NumPy and torch share them.

A sampler is named in a description that goes into bundles, {"name": ..., and its keyword arguments}; `sample` runs it.
All are deterministic: the same noise gives the same chunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Model = Callable[..., Any]


def euler(velocity: Model, noise: Any, *, steps: int) -> Any:
    """Integrate dx/dt = v(x, t) from x_0 = noise at t = 0 to data at t = 1 (rectified flow, Liu et al. 2022).

    Args:
        velocity: v(x, t) with t in [0, 1).
        noise: starting point x_0, any array type.
        steps: number of equal Euler steps.
    """
    x = noise
    for k in range(steps):
        x = x + velocity(x, k / steps) / steps
    return x


def heun(velocity: Model, noise: Any, *, steps: int) -> Any:
    """Integrate like `euler` with Heun's second-order steps: each follows the mean of its two ends' velocities.

    The last step is one of Euler's (Karras et al. 2022, algorithm 1): at t = 1 nothing of the noise is left to tell
    the velocity from.

    Args:
        velocity: v(x, t) with t in [0, 1), asked twice per step but the last.
        noise: starting point x_0.
        steps: number of equal steps.
    """
    x = noise
    for k in range(steps - 1):
        before = velocity(x, k / steps)
        x = x + (before + velocity(x + before / steps, (k + 1) / steps)) / (2 * steps)
    return x + velocity(x, 1 - 1 / steps) / steps


def shortcut(velocity: Model, noise: Any, *, steps: int) -> Any:
    """Go from noise to data in few steps with a velocity that knows how far each goes (Frans et al. 2024).

    Args:
        velocity: s(x, t, d) for a step of size d = 1 / steps from t.
        noise: starting point x_0.
        steps: number of equal steps.
    """
    return euler(lambda x, time: velocity(x, time, 1 / steps), noise, steps=steps)


def ddim(
    denoiser: Model,
    noise: Any,
    *,
    times: Sequence[float],
    alphas: Sequence[float],
    prediction: str,
    clip: float | None,
) -> Any:
    """Denoise deterministically (Song et al. 2021, DDIM, equation 12 with sigma = 0).

    Args:
        denoiser: predicts from (x, t).
        noise: starting point.
        times: [steps] the denoiser's t of each step, falling.
        alphas: [steps + 1] cumulative product of 1 - beta at each time and after the last step.
        prediction: "epsilon" if the denoiser predicts the noise, "sample" if the clean chunk.
        clip: largest magnitude of the estimated clean chunk, or None.
    """
    x = noise
    for time, alpha, after in zip(times, alphas[:-1], alphas[1:], strict=True):
        clean, epsilon = estimates(x, denoiser(x, time), alpha, prediction=prediction, clip=clip)
        x = math.sqrt(after) * clean + math.sqrt(1 - after) * epsilon
    return x


def ddpm(
    denoiser: Model,
    noise: Any,
    *,
    times: Sequence[float],
    alphas: Sequence[float],
    prediction: str,
    clip: float | None,
) -> Any:
    """Denoise with fresh noise at every step (Ho et al. 2020, equation 7, with the small variance of section 3.2).

    Args:
        denoiser: predicts from (x, t).
        noise: [B, steps, ...]; the starting point, then what each step but the last adds.
        times: see `ddim`; also the rest.
        alphas: see there.
        prediction: see there.
        clip: see there.
    """
    x = noise[:, 0]
    for k, (time, alpha, after) in enumerate(zip(times, alphas[:-1], alphas[1:], strict=True)):
        clean, _ = estimates(x, denoiser(x, time), alpha, prediction=prediction, clip=clip)
        kept = alpha / after
        share = math.sqrt(after) * (1 - kept) / (1 - alpha)
        x = share * clean + math.sqrt(kept) * (1 - after) / (1 - alpha) * x
        if k + 1 < len(times):
            x = x + math.sqrt((1 - after) / (1 - alpha) * (1 - kept)) * noise[:, k + 1]
    return x


def estimates(x: Any, predicted: Any, alpha: Any, *, prediction: str, clip: float | None) -> tuple[Any, Any]:
    """Return the clean chunk, clipped, and the noise that a prediction from x stands for.

    Args:
        x: noisy chunks [B, ...].
        predicted: of what the denoiser is asked for, likewise.
        alpha: cumulative product of 1 - beta, one for all or an array that fits x.
        prediction: see `ddim`; also the rest.
        clip: see there.
    """
    signal, spread = alpha**0.5, (1 - alpha) ** 0.5
    if prediction == "epsilon":
        clean, epsilon = (x - spread * predicted) / signal, predicted
    else:
        clean, epsilon = predicted, (x - signal * predicted) / spread
    return (clean if clip is None else clean.clip(-clip, clip)), epsilon


SAMPLERS: dict[str, Callable[..., Any]] = {
    "euler": euler,
    "heun": heun,
    "shortcut": shortcut,
    "ddim": ddim,
    "ddpm": ddpm,
}


def sample(model: Model, noise: Any, description: Mapping[str, Any]) -> Any:
    """Run the sampler of a description, {"name": one of `SAMPLERS`, **its keyword arguments}."""
    settings = {key: value for key, value in description.items() if key != "name"}
    return SAMPLERS[description["name"]](model, noise, **settings)


def agreed_steps(
    chunks: NDArray[np.floating], horizons: Sequence[int], *, ratio: float, steps: int, voters: int
) -> NDArray[np.int64]:
    """Count the actions on which a mixture of horizons agrees (Jing et al. 2025, algorithm 1).

    The disagreement at an action is the mean absolute difference between the fused action and those of the horizons
    that reach it; every horizon has the same vote. Execution goes on up to the first action whose disagreement exceeds
    `ratio` times that of the first ones, or which too few horizons reach.

    Args:
        chunks: [1 + N, ..., H, action_dim], the fused chunk and that of each horizon, normalised.
        horizons: [N] their lengths, rising to H.
        ratio: see above.
        steps: number of the first actions, which always count.
        voters: horizons that must reach an action.

    Returns:
        [...] between `steps` and H.
    """
    length = chunks.shape[-2]
    reached = np.arange(length) < np.asarray(horizons)[:, None]  # [N, H]
    difference = np.abs(chunks[1:] - chunks[0]).mean(axis=-1)
    votes = reached.reshape(len(horizons), *(1,) * (difference.ndim - 2), length)
    disagreement = (votes * difference).sum(axis=0) / reached.sum(axis=0)
    limit = ratio * disagreement[..., :steps].mean(axis=-1, keepdims=True)
    stops = (disagreement > limit) | (reached.sum(axis=0) < voters)
    stops[..., :steps] = False
    return np.where(stops.any(axis=-1), stops.argmax(axis=-1), length)
