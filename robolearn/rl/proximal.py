"""Proximal policy optimisation, as arithmetic: advantages and the clipped objective.

Schulman et al., "Proximal Policy Optimization Algorithms", 2017; "High-Dimensional Continuous Control Using Generalized
Advantage Estimation", 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor


def advantages(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    over: Tensor,
    terminated: Tensor,
    *,
    gamma: float | Tensor,
    lam: float | Tensor,
) -> Tensor:
    """Generalised advantage estimates [T, n].

    delta_t = r_t + gamma_t (1 - terminated_t) V(s_{t+1}) - V(s_t);
    A_t = delta_t + gamma_t lambda_t (1 - over_t) A_{t+1}.

    Args:
        reward: of each decision, discounted to its beginning [T, n].
        value: V(s_t) [T, n].
        next_value: value of the state that the decision led to, before any reset [T, n].
        over: whether nothing that is known follows: the episode ended, by success or by time [T, n].
        terminated: whether it ended by success [T, n]: nothing follows; time running out is bootstrapped.
        gamma: discount per decision, or of each one [T, n] where they last differently long.
        lam: lambda per decision, or of each one [T, n].
    """
    delta = reward + gamma * (~terminated) * next_value - value
    decay = gamma * lam * (~over)
    result, tail = torch.empty_like(delta), torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        tail = delta[t] + decay[t] * tail
        result[t] = tail
    return result


def clipped_loss(log_ratio: Tensor, advantage: Tensor, clip: float | Tensor) -> Tensor:
    """-min(rho A, clip(rho, 1 - eps, 1 + eps) A) of each decision, rho = exp(log_ratio) new over old density."""
    ratio, bound = log_ratio.exp(), torch.as_tensor(clip)
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - bound, 1 + bound) * advantage)


def divergence(log_ratio: Tensor) -> Tensor:
    """Estimate of KL(old || new) from samples of the old one: mean of (rho - 1) - log rho, which is never negative."""
    log_ratio = log_ratio.detach()
    return (log_ratio.exp() - 1 - log_ratio).mean()
