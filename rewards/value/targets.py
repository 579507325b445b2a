"""What a critic of sparse success learns from clips of consecutive frames."""

from __future__ import annotations

import torch
from torch import Tensor


def n_step_targets(
    done: Tensor, valid: Tensor, bootstrap: Tensor, *, gamma: float, n_step: int
) -> tuple[Tensor, Tensor]:
    """Return the targets [B, T] of the values at all frames of clips, and which of them are known [B, T].

    The reward is 1 on reaching a frame where all is done, which ends the task, so that the value is gamma^k, k steps
    ahead of it. Where none comes within `n_step` steps, or before the clip ends, the target is gamma^m times the value
    at the last frame looked at, m steps ahead; so a recording that ran out of time is no failure by itself. There is no
    target at a clip's last frame unless all is done in it.

    Args:
        done: frames where all is done [B, T].
        valid: frames that exist [B, T].
        bootstrap: values [B, T] by the target networks.
        gamma: discount of a step.
        n_step: steps.
    """
    last = done.shape[1] - 1
    now = torch.arange(last + 1, device=done.device).expand_as(done)
    ahead = (now + n_step).clamp(max=last)
    ends = torch.where(done, now, last + 1).flip(1).cummin(1).values.flip(1)
    reached = ends <= ahead
    used = torch.minimum(ends, ahead)
    value = torch.where(reached, 1.0, bootstrap.gather(1, used))
    known = valid & valid.gather(1, used) & (reached | (ahead > now))
    return gamma ** (used - now) * value, known


def two_hot(value: Tensor, num_atoms: int) -> Tensor:
    """Return probabilities [..., num_atoms] of even places in [0, 1], the mean of which is `value` [...] in [0, 1].

    The two places beside the value share it (MuZero, Schrittwieser et al. 2020, appendix F); unlike a histogram of a
    Gaussian, they keep 0 and 1 exact, on which every other value rests here.
    """
    place = value.clamp(0.0, 1.0) * (num_atoms - 1)
    low = place.floor().clamp(max=num_atoms - 2)
    upper = (place - low)[..., None]
    spread = torch.zeros(*value.shape, num_atoms, dtype=value.dtype, device=value.device)
    index = low.long()[..., None]
    return spread.scatter(-1, index, 1 - upper).scatter(-1, index + 1, upper)
