"""From learning curves to figures: when 95 % are reached, the area under the curve, the worst drop below the base.

Figures of several runs are interquartile means with 95 % intervals by stratified bootstrap over the runs of each task
(Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

REACHED = 0.95
DRAWS = 2000
Point = Mapping[str, float]


def points(result: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Control steps, those of the demonstrations included, and success at each evaluation of a run."""
    curve: Sequence[Point] = result["curve"]
    shown = result["base"]["steps"]
    return np.array([p["steps"] + shown for p in curve]), np.array([p["success"] for p in curve])


def steps_to(result: Mapping[str, Any], budget: int) -> float:
    """Control steps of the first evaluation at `REACHED`; the whole budget where there is none."""
    steps, success = points(result)
    reached = np.flatnonzero(success >= REACHED)
    return float(steps[reached[0]]) if len(reached) else float(budget + result["base"]["steps"])


def reached(result: Mapping[str, Any]) -> bool:
    """Whether an evaluation was at `REACHED`, the last one included."""
    return bool((points(result)[1] >= REACHED).any())


def area(result: Mapping[str, Any], budget: int) -> float:
    """Mean success over the budget, linear between evaluations; a run that stopped early, having learned, stays."""
    steps, success = points(result)
    grid = np.linspace(0.0, budget, 2001) + result["base"]["steps"]
    return float(np.interp(grid, steps, success).mean())


def worst_drop(result: Mapping[str, Any]) -> float:
    """How far the lowest evaluation lies below the base policy in the same episodes, at least 0."""
    _, success = points(result)
    return float(max(result["base"]["success_in_evaluations"] - success.min(), 0.0))


def interquartile_mean(values: NDArray[np.float64]) -> float:
    """Mean of the middle half; values at its edges count by the share that lies inside."""
    ordered = np.sort(values)
    edges = np.arange(len(ordered) + 1) / len(ordered)
    inside = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0.0, None)
    return float((ordered * inside).sum() / inside.sum())


def interval(groups: Sequence[Sequence[float]], *, seed: int = 0) -> tuple[float, float, float]:
    """Interquartile mean over all values, and its 95 % interval; each group is drawn from anew by itself."""
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(group, np.float64) for group in groups]
    whole = interquartile_mean(np.concatenate(arrays))
    drawn = [
        interquartile_mean(np.concatenate([rng.choice(values, len(values)) for values in arrays])) for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    # a mean of few values may lie outside what is drawn by rounding
    return whole, min(float(low), whole), max(float(high), whole)
