"""Coming to rest under bounded acceleration and jerk, in discrete time: compiled, for it is played ahead every period.

Units are periods: v in position per period, a in position per period^2, jerk in position per period^3, and a step is
a += j, v += a, p += v. `brake` is one feedback law; `rest` plays it to its end. Whoever only ever moves to a state
whose `rest` stays within its limits can brake from there by the same law, step by step as it was played: that is the
proof that `robolearn.real.safety` keeps them.
"""

from __future__ import annotations

from math import copysign, floor, inf, sqrt

import numpy as np
from numpy.typing import NDArray

from robolearn.jit import jit

Array = NDArray[np.float64]
LONGEST = 50_000  # steps to rest; what takes longer counts as never
TINY = 1e-12  # rad (m) per period that count as standing still
GENTLEST = 0.02  # share of the full acceleration that braking has at least
HALVINGS = 30  # of an interval of accelerations in a search
ON_STREAM = 1e-9  # rad (m) from where the target was that count as having followed it
ROUNDING = 1e-12  # share of the velocity limit that a motion at that limit may seem to exceed
SLIGHT = 1e-10  # rad (m) per period^2: by this a target's acceleration may exceed the limits and be followed, shortened


@jit
def largest_first(total: float, decrease: float) -> float:
    """Largest x with x + (x - d) + (x - 2 d) + ... = total >= 0, over the positive terms, d > 0.

    With n terms after the first, total = (n + 1) x - d n (n + 1) / 2; n is the largest with all terms positive.
    """
    n = floor((sqrt(1.0 + 8.0 * total / decrease) - 1.0) / 2.0)
    return (total + decrease * n * (n + 1.0) / 2.0) / (n + 1.0)


@jit
def _fastest(v: float, a: float, jerk: float) -> float:
    """The speed now, or that once the acceleration is gone, whichever is more."""
    n = floor(abs(a) / jerk)
    return max(abs(v), abs(v + copysign(n * abs(a) - jerk * n * (n + 1.0) / 2.0, a)))


@jit
def brake(v: float, a: float, acceleration: float, jerk: float) -> float:
    """Acceleration of the next step on the way to rest, from velocity `v` and acceleration `a`.

    The strongest from which the jerk can still bring it back to 0 together with the velocity. The jerk is kept even if
    |a| is beyond `acceleration`.
    """
    wanted = -copysign(largest_first(abs(v), jerk), v)
    wanted = min(max(wanted, -acceleration), acceleration)
    return min(max(wanted, a - jerk), a + jerk)


@jit
def rest(v: float, a: float, acceleration: float, jerk: float) -> tuple[float, float, float, float, int]:
    """Brake to rest; return the lowest, highest and last position, from here, the highest speed, and the steps."""
    p = low = high = 0.0
    speed = abs(v)
    for steps in range(LONGEST):
        if v == 0.0 and a == 0.0:
            return low, high, p, speed, steps
        a = brake(v, a, acceleration, jerk)
        v += a
        p += v
        low, high, speed = min(low, p), max(high, p), max(speed, abs(v))
    return -inf, inf, p, inf, LONGEST


@jit
def _arrive(gap: float, v: float, low: float, high: float, acceleration: float, jerk: float) -> float:
    """Acceleration in [low, high] of the next step, from which braking ends nearest to `gap` away from here.

    Positions and velocity `v` are relative to what is to be reached.
    """
    if v + low + rest(v + low, low, acceleration, jerk)[2] >= gap:
        return low
    if v + high + rest(v + high, high, acceleration, jerk)[2] <= gap:
        return high
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        if v + middle + rest(v + middle, middle, acceleration, jerk)[2] <= gap:
            low = middle
        else:
            high = middle
    return low


@jit
def _safe(p: float, v: float, a: float, bounds: tuple[float, float, float, float, float]) -> bool:
    """Whether braking from here stays within bounds: lower, upper, velocity, acceleration, jerk."""
    lower, upper, velocity, acceleration, jerk = bounds
    low, high, _, speed, _ = rest(v, a, acceleration, jerk)
    inside = p + low >= lower and p + high <= upper
    return inside and speed <= velocity * (1.0 + ROUNDING)


@jit
def _advance(
    p: float,
    v: float,
    a: float,
    target: float,
    before: float,
    bounds: tuple[float, float, float, float, float],
    brakes: float,
) -> float:
    """Acceleration of the next step towards a target that was at `before` one step ago; see `follow`."""
    _, _, velocity, acceleration, jerk = bounds
    low, high = max(a - jerk, -acceleration), min(a + jerk, acceleration)
    wanted = target - p - v  # which arrives at once
    if abs(p - before) > ON_STREAM or not low - SLIGHT <= wanted <= high + SLIGHT:
        drift = min(max(target - before, -velocity), velocity)
        wanted = _arrive(target - drift - p, v - drift, low, high, acceleration, jerk)
    wanted = min(max(wanted, low), high)
    if _safe(p + v + wanted, v + wanted, wanted, bounds):
        return wanted
    kept = brake(v, a, brakes, jerk)  # safe, because it is what was played ahead
    for _ in range(HALVINGS):
        middle = (kept + wanted) / 2.0
        if _safe(p + v + middle, v + middle, middle, bounds):
            kept = middle
        else:
            wanted = middle
    return kept


@jit
def follow(state: Array, target: Array, before: Array, bounds: Array, brakes: Array, result: Array) -> None:
    """Advance all components by a step towards `target` [n], which was at `before` [n] one step ago.

    A target that is followed already, and whose acceleration and jerk are within the limits, is met exactly; else the
    arm approaches it as in braking, but relative to the moving target, so that it arrives with the target's velocity.
    Whichever it is, the step is shortened towards braking until `rest` from its end is within the bounds.

    Args:
        state: position, velocity, acceleration [3, n].
        target: where to be at the end of the step.
        before: the target of the step before.
        bounds: lower, upper, velocity, acceleration, jerk [5, n].
        brakes: acceleration [n] of braking from `state`, by `plan`.
        result: written: position, velocity, acceleration [3, n].
    """
    for i in range(state.shape[1]):
        p, v, a = state[0, i], state[1, i], state[2, i]
        limits = (bounds[0, i], bounds[1, i], bounds[2, i], bounds[3, i], bounds[4, i])
        a = _advance(p, v, a, target[i], before[i], limits, brakes[i])
        result[0, i], result[1, i], result[2, i] = p + v + a, v + a, a


@jit
def plan(state: Array, bounds: Array, joined: int, brakes: Array, end: Array) -> None:
    """Choose how to brake from `state` [3, n], such that the first `joined` components come to rest together.

    The one that takes longest brakes as it can, each other in proportion to its speed, so that the arm stops along the
    line on which it moves. Where that is not within the bounds, it is the full acceleration; where that is not either,
    for the state was reached by braking, it stays what it was. `brakes` [n] and positions at rest, `end` [n], are
    written.
    """
    longest, rate = 0, 0.0  # of the slowest one: steps to rest, acceleration per speed
    for i in range(joined):
        steps = rest(state[1, i], state[2, i], bounds[3, i], bounds[4, i])[4]
        if steps > longest:
            longest = steps
            rate = bounds[3, i] / max(_fastest(state[1, i], state[2, i], bounds[4, i]), TINY)
    for i in range(state.shape[1]):
        p, v, a = state[0, i], state[1, i], state[2, i]
        full, jerk = bounds[3, i], bounds[4, i]
        gentle = full
        if i < joined:
            gentle = min(full, max(rate * _fastest(v, a, jerk), GENTLEST * full))
        if _safe(p, v, a, (bounds[0, i], bounds[1, i], bounds[2, i], gentle, jerk)):
            brakes[i] = gentle
        elif _safe(p, v, a, (bounds[0, i], bounds[1, i], bounds[2, i], full, jerk)):
            brakes[i] = full
        end[i] = p + rest(v, a, brakes[i], jerk)[2]


@jit
def slow_down(state: Array, bounds: Array, brakes: Array, result: Array) -> None:
    """Advance all components by a step of braking; see `follow`."""
    for i in range(state.shape[1]):
        p, v = state[0, i], state[1, i]
        a = brake(v, state[2, i], brakes[i], bounds[4, i])
        result[0, i], result[1, i], result[2, i] = p + v + a, v + a, a


@jit
def tighten(state: Array, wanted: Array, bounds: Array, brakes: Array) -> None:
    """Take the `wanted` lower and upper limits [2, n] where braking from `state` [3, n] keeps within them already."""
    for i in range(state.shape[1]):
        low, high, _, _, _ = rest(state[1, i], state[2, i], brakes[i], bounds[4, i])
        if state[0, i] + low >= wanted[0, i]:
            bounds[0, i] = wanted[0, i]
        if state[0, i] + high <= wanted[1, i]:
            bounds[1, i] = wanted[1, i]
