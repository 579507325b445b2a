"""Samplers that draw actions from a learned velocity field; plain arithmetic, so NumPy and torch share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def euler(velocity: Callable[[Any, float], Any], noise: Any, *, steps: int) -> Any:
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
