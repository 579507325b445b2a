"""How much each demonstrated frame counts in behaviour cloning, from the progress that its chunk of actions makes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-6


def rabc_weights(
    progress: NDArray[np.floating],
    starts: NDArray[np.integer],
    ends: NDArray[np.integer],
    *,
    horizon: int,
    kappa: float = 0.01,
) -> NDArray[np.float32]:
    """Return the weights of reward-aligned behaviour cloning (SARM, Chen et al. 2025, eq. 8 and 9).

    With the gain r_t = phi(t + horizon) - phi(t), its mean mu over all frames, or 0 if that is negative, and its
    deviation sigma, at least 1e-6:

        w_t = 1 if r_t > kappa, clip((r_t - (mu - 2 sigma)) / (4 sigma + 1e-6), 0, 1) if 0 <= r_t <= kappa, else 0

    Near the end of an episode the gain is that up to its last frame. LeRobot's `RABCWeights` does the same.

    Args:
        progress: [frames] phi, in [0, 1].
        starts: [episodes] first frame of each episode; episodes follow each other without gap.
        ends: [episodes] one past the last.
        horizon: frames over which a gain is taken: actions in the policy's chunk.
        kappa: gain above which a frame counts fully.

    Returns:
        [frames], in [0, 1].
    """
    phi = progress.astype(np.float64)
    gain = phi[_ahead(starts, ends, horizon)] - phi
    mean, deviation = max(float(gain.mean()), 0.0), max(float(gain.std()), EPSILON)
    gain = gain.astype(np.float32)
    soft = np.clip((gain - (mean - 2 * deviation)) / (4 * deviation + EPSILON), 0, 1)
    return np.where(gain > kappa, 1, np.where(gain >= 0, soft, 0)).astype(np.float32)


def rising(
    progress: NDArray[np.floating],
    starts: NDArray[np.integer],
    ends: NDArray[np.integer],
    *,
    horizon: int,
    kappa: float = 0.01,
) -> NDArray[np.bool_]:
    """Return which frames begin a chunk in which progress rises (progress filtering, GR-RL, Li et al. 2025).

    It must gain more than `kappa` from the chunk's first frame to its last, and nowhere between fall by more than that
    below where it has been: what is lost and made good again within a chunk is not imitated.

    Args:
        progress: [frames] phi, in [0, 1].
        starts: [episodes] first frame of each episode; episodes follow each other without gap.
        ends: [episodes] one past the last.
        horizon: actions in the policy's chunk; at the end of an episode chunks are shorter.
        kappa: changes up to this are taken for noise.

    Returns:
        [frames].
    """
    phi = progress.astype(np.float64)
    peak, fall, later = phi, np.zeros_like(phi), phi
    for k in range(1, horizon + 1):
        later = phi[_ahead(starts, ends, k)]
        peak = np.maximum(peak, later)
        fall = np.maximum(fall, peak - later)
    return (later - phi > kappa) & (fall <= kappa)


def _ahead(starts: NDArray[np.integer], ends: NDArray[np.integer], steps: int) -> NDArray[np.integer]:
    """Return for each frame the one `steps` later, or its episode's last."""
    last = np.repeat(ends - 1, ends - starts)
    return np.minimum(np.arange(len(last)) + steps, last)
