"""What online RL put on top of a policy as a module that is exported to ONNX, for `robolearn.export.bundle`.

Inputs come in the order of the policy's observation channels; vectors are normalised, pictures uint8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from robolearn.acting import Acting
from robolearn.protocols import Policy
from robolearn.rl.best_of import BestOfPolicy, ChunkCritic
from robolearn.rl.correction import ResidualActor, ResidualCorrection
from robolearn.rl.fql import OneStepActor, OneStepPolicy
from robolearn.rl.gaussian import SquashedGaussian
from robolearn.rl.ibrl import Choice, Proposer
from robolearn.rl.noise_steering import SteeredPolicy
from robolearn.rl.observer import Observer
from robolearn.rl.rlpd import GaussianPolicy
from robolearn.rl.units import VECTOR, Units


class OnTop(NamedTuple):
    """What lies on top of a policy, or in its place.

    Attributes:
        kind: what a bundle's reader does with the graph; see `robolearn.export.bundle`.
        module: that becomes the graph.
        settings: what else the reader needs to know, plain data.
    """

    kind: str
    module: nn.Module
    settings: dict[str, Any]


def graph_of(acting: Acting) -> OnTop | None:
    """The graph of what fine-tuning made, None where a policy acts alone."""
    if isinstance(correction := acting.correction, ResidualCorrection):
        return OnTop("correction", ResidualGraph(correction.actor), {})
    if isinstance(correction, Choice):
        return OnTop("correction", ChoiceGraph(correction.proposer), {})
    policy = acting.policy
    if isinstance(policy, SteeredPolicy):
        return OnTop("steering", SteeringGraph(policy.actor, greedy=policy.greedy), {})
    if isinstance(policy, BestOfPolicy):
        settings = {"candidates": policy.candidates, "temperature": policy.temperature}
        return OnTop("critic", CriticGraph(policy.critic), settings)
    if isinstance(policy, OneStepPolicy):
        return OnTop("policy", OneStepGraph(policy.actor, policy.units, policy), {"kind": "fql"})
    if isinstance(policy, GaussianPolicy):
        return OnTop("policy", GaussianGraph(policy.actor, policy.units, policy), {"kind": "rlpd"})
    return None


def seen(observer: Observer, observations: Sequence[Tensor], *, like: Tensor) -> Tensor:
    """Features [B, dim] of channels [B, ...]; `like` [B, ...] says how many where there is no vector."""
    vectors = [one for one in observations if one.ndim == 2]
    pictures = [one for one in observations if one.ndim == 4]
    frames = {VECTOR: torch.cat(vectors, dim=-1) if vectors else like.flatten(1)[:, :0]}
    features: Tensor = observer(frames | dict(zip(observer.keys, pictures, strict=True)))
    return features


class ResidualGraph(nn.Module):
    """(observation_1, ..., observation_k, base_action) -> action [B, action_dim], normalised."""

    def __init__(self, actor: ResidualActor) -> None:
        """Wrap the actor; its weights are shared."""
        super().__init__()
        self.actor = actor

    def forward(self, *inputs: Tensor) -> Tensor:
        """See the class."""
        *observations, base = inputs
        return self.actor.combine(base, self.actor(seen(self.actor.observer, observations, like=base), base))


class ChoiceGraph(nn.Module):
    """(observation_1, ..., observation_k, base_action) -> the better action [B, action_dim], normalised."""

    def __init__(self, proposer: Proposer) -> None:
        """Wrap the networks; their weights are shared."""
        super().__init__()
        self.proposer = proposer

    def forward(self, *inputs: Tensor) -> Tensor:
        """See the class."""
        *observations, base = inputs
        own = self.proposer(seen(self.proposer.observer, observations, like=base))
        chosen, _ = self.proposer.better(seen(self.proposer.judge_observer, observations, like=base), base, own)
        return torch.where(chosen[:, None], own, base)


class SteeringGraph(nn.Module):
    """(observation_1, ..., observation_k, noise [B, n]) -> the base's noise [B, n]."""

    def __init__(self, actor: SquashedGaussian, *, greedy: bool) -> None:
        """Wrap the actor; its weights are shared."""
        super().__init__()
        self.actor, self.greedy = actor, greedy

    def forward(self, *inputs: Tensor) -> Tensor:
        """See the class."""
        *observations, noise = inputs
        features = seen(self.actor.observer, observations, like=noise)
        return self.actor.draw(features, 0 * noise if self.greedy else noise)[0]


class CriticGraph(nn.Module):
    """(observation_1, ..., observation_k, chunk [B, h * action_dim], normalised) -> value [B, 1]."""

    def __init__(self, critic: ChunkCritic) -> None:
        """Wrap the critic; its weights are shared."""
        super().__init__()
        self.critic = critic

    def forward(self, *inputs: Tensor) -> Tensor:
        """See the class."""
        *observations, chunk = inputs
        features = seen(self.critic.observer, observations, like=chunk)
        return self.critic.net(features, chunk).mean(dim=0)


class _Alone(nn.Module):
    """A policy in place of its base: channels [B, n_obs_steps, ...] and chunks in physical units."""

    def __init__(self, units: Units, policy: Policy) -> None:
        super().__init__()
        self.keys = policy.schema.observation_keys
        self.horizon, self.limit = policy.horizon, math.inf
        for name, key in {**{f"of_{i}": key for i, key in enumerate(units.vectors)}, "action": "action"}.items():
            transform = units.normalizer[key]
            self.limit = min(self.limit, transform.limit)
            self.register_buffer(f"{name}_offset", torch.from_numpy(np.asarray(transform.offset, np.float32)))
            self.register_buffer(f"{name}_scale", torch.from_numpy(np.asarray(transform.scale, np.float32)))
        self.vectors = units.vectors

    def newest(self, observations: Sequence[Tensor]) -> list[Tensor]:
        """The last frame of each channel, normalised."""
        frames = []
        for key, history in zip(self.keys, observations, strict=True):
            frame = history[:, -1]
            if key in self.vectors:
                i = self.vectors.index(key)
                frame = (frame - self.get_buffer(f"of_{i}_offset")) / self.get_buffer(f"of_{i}_scale")
                frame = frame.clamp(-self.limit, self.limit)
            frames.append(frame)
        return frames

    def physical(self, action: Tensor) -> Tensor:
        """Chunks [B, horizon, action_dim] from [B, horizon * action_dim]."""
        chunk = action.unflatten(1, (self.horizon, -1))
        return chunk * self.get_buffer("action_scale") + self.get_buffer("action_offset")


class GaussianGraph(_Alone):
    """(observation_1, ..., observation_k) -> chunk [B, 1, action_dim]: the middle of an actor's distribution."""

    def __init__(self, actor: SquashedGaussian, units: Units, policy: Policy) -> None:
        """Wrap the actor; its weights are shared."""
        super().__init__(units, policy)
        self.actor = actor

    def forward(self, *observations: Tensor) -> Tensor:
        """See the class."""
        frames = self.newest(observations)
        return self.physical(torch.tanh(self.actor(seen(self.actor.observer, frames, like=frames[0]))[0]))


class OneStepGraph(_Alone):
    """(observation_1, ..., observation_k, noise [B, ...]) -> chunk [B, horizon, action_dim]."""

    def __init__(self, actor: OneStepActor, units: Units, policy: Policy) -> None:
        """Wrap the actor; its weights are shared."""
        super().__init__(units, policy)
        self.actor, self.noise = actor, math.prod(policy.noise_shape or ())

    def forward(self, *inputs: Tensor) -> Tensor:
        """See the class."""
        *observations, noise = inputs
        frames = self.newest(observations)
        return self.physical(self.actor(seen(self.actor.observer, frames, like=noise), noise.flatten(1)))
