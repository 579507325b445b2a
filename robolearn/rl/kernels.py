"""Layer norm and SiLU in one pass over each row, forwards and backwards, for networks that learn on a CPU.

Torch makes several passes over memory for the same; at the sizes of RL's networks they cost as much as the matrix
products. Arrays are float32 [heads, batch, units] and written in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.jit import loose_jit

Array = NDArray[np.float32]
f32: Any = np.float32  # every constant of this type: one that is not makes whole loops run in double precision


@loose_jit
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) as (1 + tanh(x / 2)) / 2, off by less than 2e-7.

    tanh is z P(z^2) / Q(z^2), the rational minimax approximation of the Eigen library: unlike a call of exp, it is
    computed for a whole vector of numbers at once.
    """
    z = min(max(f32(0.5) * x, f32(-7.9)), f32(7.9))
    s = z * z
    p = f32(-2.76076847742355e-16)
    p = p * s + f32(2.00018790482477e-13)
    p = p * s + f32(-8.60467152213735e-11)
    p = p * s + f32(5.12229709037114e-08)
    p = p * s + f32(1.48572235717979e-05)
    p = p * s + f32(6.37261928875436e-04)
    p = p * s + f32(4.89352455891786e-03)
    q = f32(1.19825839466702e-06)
    q = q * s + f32(1.18534705686654e-04)
    q = q * s + f32(2.26843463243900e-03)
    q = q * s + f32(4.89352518554385e-03)
    return f32(0.5) + f32(0.5) * z * p / q


@loose_jit
def activate(y: Array, bias: Array, out: Array, scale: Array) -> None:
    """silu(LN(y + bias)) to `out`; `y` becomes LN(y + bias), `scale` [heads, batch] 1 / sqrt(variance + 1e-5).

    `bias` is [heads, units].
    """
    heads, batch, units = y.shape
    count = f32(units)
    for e in range(heads):
        for i in range(batch):
            total, squares = f32(0.0), f32(0.0)
            for j in range(units):
                y[e, i, j] += bias[e, j]
                total += y[e, i, j]
            mean = total / count
            for j in range(units):
                d = y[e, i, j] - mean
                squares += d * d
            k = f32(1.0) / np.sqrt(squares / count + f32(1e-5))
            scale[e, i] = k
            for j in range(units):
                n = (y[e, i, j] - mean) * k
                y[e, i, j] = n
                out[e, i, j] = n * sigmoid(n)


@loose_jit
def activate_backward(n: Array, scale: Array, grad: Array, grad_bias: Array) -> None:
    """Turn `grad` of what `activate` gave into that of what it was given, and add up that of the bias.

    n = LN(y + b), k = scale: d = grad silu'(n) and grad_y = k (d - mean(d) - n mean(d n)), means over the units.
    """
    heads, batch, units = n.shape
    count = f32(units)
    grad_bias[:] = f32(0.0)
    for e in range(heads):
        for i in range(batch):
            total, along = f32(0.0), f32(0.0)
            for j in range(units):
                x = n[e, i, j]
                s = sigmoid(x)
                d = grad[e, i, j] * s * (f32(1.0) + x * (f32(1.0) - s))
                grad[e, i, j] = d
                total += d
                along += d * x
            mean, slope, k = total / count, along / count, scale[e, i]
            for j in range(units):
                g = k * (grad[e, i, j] - mean - n[e, i, j] * slope)
                grad[e, i, j] = g
                grad_bias[e, j] += g
