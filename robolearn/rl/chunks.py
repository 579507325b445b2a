"""Chunks of actions: what a frozen base plans, and what executing a chunk is worth.

A chunk is what is executed between two decisions, the base's first h = n_action_steps actions. Its value is learned
from windows of h control steps that begin at any step (Q-chunking, Li et al., "Reinforcement Learning with Action
Chunking", 2025): the return within the window, and what follows. Beyond the end of an episode a window has actions of
others, see `robolearn.rl.experience`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robolearn.data.replay import Trajectory
from robolearn.errors import UserError
from robolearn.protocols import Policy
from robolearn.rl.experience import Batch
from robolearn.rl.networks import EnsembleMLP
from robolearn.rl.reads import HISTORY, Arrays, observation
from robolearn.rl.units import Units

PLANS, PLANS_NOISE = "plans", "plans.noise"
ROWS = 256  # chunks that a base is asked for at once when an episode is completed


def chunk_size(policy: Policy) -> int:
    """Numbers of a chunk."""
    return int(policy.n_action_steps * policy.schema.action.shape[0])


def noise_shape_of(policy: Policy) -> tuple[int, ...]:
    """Shape of the base's starting noise.

    Raises:
        UserError: it has none.
    """
    if policy.noise_shape is None:
        raise UserError(
            "the base policy draws no noise, so there is nothing to choose from: take a flow or diffusion policy, "
            "or algo=residual"
        )
    return policy.noise_shape


def ask(
    policy: Policy, units: Units, frames: Arrays, noise: NDArray[np.float32] | None = None, *, n_samples: int = 1
) -> NDArray[np.float32]:
    """Normalised chunks [B, n_samples, h * action_dim] that the base would execute.

    Args:
        policy: the base.
        units: normalisation of its actions.
        frames: that hold what it read [B, ...]; see `robolearn.rl.reads`.
        noise: [B * n_samples, *noise_shape]; drawn by the base when None.
        n_samples: chunks per frame.
    """
    values = policy.predict_chunk(observation(frames, policy), noise, n_samples).values
    executed = units.action(values[..., : policy.n_action_steps, :])
    return executed.reshape(-1, n_samples, chunk_size(policy))


def with_plans(
    one: Trajectory,
    policy: Policy,
    units: Units,
    rng: np.random.Generator,
    *,
    count: int,
    noise: bool = False,
    reads: bool = False,
) -> Trajectory:
    """Add to each frame `count` chunks of the base.

    The base is frozen, so that they are as good as fresh ones, at a small part of the cost.

    Args:
        one: an episode whose frames hold what the base read.
        policy: the base.
        units: normalisation.
        rng: of the noise.
        count: chunks per frame.
        noise: whether the frames also hold the noise that each chunk came from.
        reads: whether the frames keep what the base read.

    Returns:
        The episode; its frames also hold `PLANS` [T + 1, count, h * action_dim] and, if wanted, `PLANS_NOISE`
        [T + 1, count, noise_dim], of half precision.
    """
    frames = len(one.reward) + 1
    drawn = rng.standard_normal((frames, count, *noise_shape_of(policy)), np.float32).astype(np.float16)
    plans = []
    for begin in range(0, frames, max(ROWS // count, 1)):
        some = slice(begin, begin + max(ROWS // count, 1))
        given = drawn[some].reshape(-1, *drawn.shape[2:]).astype(np.float32)
        read = {key: values[some] for key, values in one.frames.items()}
        plans.append(ask(policy, units, read, given, n_samples=count).astype(np.float16))
    kept = {key: values for key, values in one.frames.items() if reads or not key.startswith(HISTORY)}
    added = {PLANS: np.concatenate(plans), **({PLANS_NOISE: drawn.reshape(frames, count, -1)} if noise else {})}
    return one._replace(frames={**kept, **added})


def arrays(frames: Mapping[str, Tensor]) -> dict[str, NDArray[np.generic]]:
    """Tensors as arrays, without a copy."""
    return {key: values.numpy() for key, values in frames.items()}


def values_of(critic: EnsembleMLP, seen: Tensor, chunks: Tensor, *, heads: Tensor | None = None) -> Tensor:
    """Values [heads, B, ...] of chunks or noise [B, ..., width] at what is seen [B, dim], by these heads or all."""
    shape = chunks.shape[:-1]
    spread = seen.reshape(len(seen), *[1] * (len(shape) - 1), -1).expand(*shape, -1)
    return critic(spread.flatten(0, -2), chunks.flatten(0, -2), heads=heads).reshape(-1, *shape)


def least_of_two(critic: EnsembleMLP, seen: Tensor, chunks: Tensor, generator: torch.Generator) -> Tensor:
    """Smaller value [B, ...] by two random heads; see `values_of`."""
    pair = torch.randperm(critic.heads, generator=generator)[:2]
    return values_of(critic, seen, chunks, heads=pair).amin(dim=0)


def chunk_target(batch: Batch, value: Tensor, *, step_cost: bool) -> Tensor:
    """Y = R + gamma^k V(o') [B], with the value of what follows [B] kept within its bounds.

    With a step cost, rewards are (1 - gamma) (success - 1) until success, and for ever after a failure: V_cost =
    V_success - 1 everywhere. Both order policies in the same way; but an untrained value of 0 is the lowest of the one
    and the highest of the other, so that with the cost what was not tried looks good. The factor keeps values in
    [-1, 0]. Shaping takes the same off both, see `robolearn.rl.experience.Batch.bounded`.
    """
    if step_cost:
        return batch.reward + batch.discount * batch.bounded(1 + value) - 1
    return batch.reward + batch.discount * batch.bounded(value)
