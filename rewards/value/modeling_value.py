"""Progress as the value of a critic that learned sparse success offline (GR-RL, Li et al. 2025).

The critic is that of TD3+BC (Fujimoto and Gu 2021) with values as distributions over [0, 1] (Bellemare et al. 2017;
trained by classification as in Farebrother et al. 2024). At best its value is gamma^(steps to success): it knows how
soon the task can be done, and nothing of stages, which are read off the progress.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from robolearn.rewards.framewise import FramewiseModel
from robolearn.rewards.heads import head
from robolearn.rewards.losses import done_loss, masked_mean
from robolearn.rewards.model import Reading
from robolearn.rewards.value.configuration_value import ValueConfig
from robolearn.rewards.value.targets import n_step_targets, two_hot
from robolearn.schema import Schema

BEGIN_LOW = 5.0  # logit of the value 0 over the others before training


class Value(FramewiseModel):
    """Reward model `robolearn_value`.

    The encoder learns from the critics and from "done", not from the actor. Actor and critics have target networks,
    which follow in `update`; the encoder has none (DrQ-v2, Yarats et al. 2022).
    """

    config_class = ValueConfig
    name = "robolearn_value"
    reads = ("action",)
    consecutive = True
    needs_success = True
    config: ValueConfig

    def __init__(self, config: ValueConfig, **kwargs: Any) -> None:
        """See `RewardModel`."""
        super().__init__(config, **kwargs)
        dim = config.hidden_dim
        self.critics = nn.ModuleList(_critic(dim + config.action_dim, dim, config.num_atoms) for _ in range(2))
        self.actor = nn.Sequential(head(dim, dim, config.action_dim), nn.Tanh())
        self.done = head(dim, dim // 2, 1)
        self.target_critics, self.target_actor = as_buffers(self.critics), as_buffers(self.actor)
        self.register_buffer("atoms", torch.linspace(0, 1, config.num_atoms), persistent=False)

    @property
    def clip(self) -> tuple[int, int]:
        """See `RewardModel.clip`."""
        return self.config.clip_frames, 1

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of clips and figures to log; see `robolearn.rewards.clips.clips`.

        It is the sum of the critics', the actor's and that of "done", which share no weights but the encoder's, and of
        these the actor's has no part.
        """
        features, valid = self.frames(batch), batch["valid"]
        is_done = batch["stage"] == self.config.num_stages
        critic, figures = self._critic_loss(features, batch["action"], is_done, valid)
        actor = self._actor_loss(features.detach(), batch["action"], valid)
        done = done_loss(self.done(features)[..., 0], is_done, valid)
        return critic + actor + done, figures | {"actor_loss": actor.item(), "done_loss": done.item()}

    @torch.no_grad()
    def update(self) -> None:
        """Let the target networks follow; trainers call it after each step of the optimiser."""
        for target, source in ((self.target_critics, self.critics), (self.target_actor, self.actor)):
            torch._foreach_lerp_(list(target.buffers()), list(source.parameters()), self.config.polyak)

    def episode(self, features: Tensor) -> Reading:
        """See `RewardModel.episode`."""
        progress = self._value(self.critics, features, self.actor(features))
        done = torch.sigmoid(self.done(features)[..., 0])
        return Reading(self.calibrated(self.by_progress(progress, done)), progress)

    def _critic_loss(
        self, features: Tensor, action: Tensor, done: Tensor, valid: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the cross-entropy of both critics with the targets of the frames [B, T] that have one."""
        with torch.no_grad():
            next_action = self.target_actor(features)
            noise = (self.config.noise * torch.randn_like(next_action)).clamp(
                -self.config.noise_clip, self.config.noise_clip
            )
            bootstrap = self._value(self.target_critics, features, (next_action + noise).clamp(-1, 1))
            target, known = n_step_targets(done, valid, bootstrap, gamma=self.config.gamma, n_step=self.config.n_step)
            truth = two_hot(target, self.config.num_atoms)
        read = torch.cat((features, action), dim=-1)
        losses = [-(truth * functional.log_softmax(critic(read), dim=-1)).sum(-1) for critic in self.critics]
        loss = masked_mean(losses[0] + losses[1], known)
        return loss, {"critic_loss": loss.item(), "value": masked_mean(target, known).item()}

    def _actor_loss(self, features: Tensor, action: Tensor, valid: Tensor) -> Tensor:
        """Return -alpha Q(s, pi(s)) / mean |Q| + |pi(s) - a|^2 over valid frames, with a critic that is held fixed."""
        chosen = self.actor(features)
        held = {name: weight.detach() for name, weight in self.critics[0].named_parameters()}
        logits = functional_call(self.critics[0], held, (torch.cat((features, chosen), dim=-1),))
        value = torch.softmax(logits, dim=-1) @ self.atoms
        scale = self.config.alpha / masked_mean(value.detach(), valid).clamp(min=1e-3)
        return masked_mean((chosen - action).square().mean(-1) - scale * value, valid)

    def _value(self, critics: nn.ModuleList, features: Tensor, action: Tensor) -> Tensor:
        """Return the lower of the critics' values [...] of features [..., hidden_dim] and actions [..., action_dim]."""
        read = torch.cat((features, action), dim=-1)
        values = [torch.softmax(critic(read), dim=-1) @ self.atoms for critic in critics]
        return torch.minimum(values[0], values[1])


def as_buffers[Network: nn.Module](network: Network) -> Network:
    """Return a copy of a network whose weights are buffers: saved with the model, neither trained nor averaged."""
    twin = copy.deepcopy(network)
    for module in twin.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, weight.detach())
    return twin


def build(schema: Schema, **settings: Any) -> Value:
    """Return an untrained model for these channels; `settings` are fields of `ValueConfig`."""
    return Value(ValueConfig.from_schema(schema, action_dim=schema.action.shape[0], **settings))


def _critic(inputs: int, hidden: int, atoms: int) -> nn.Sequential:
    """Layer norm bounds what a critic says of actions outside the data (Ball et al. 2023).

    Values begin near zero: hope that no success bears out would take many steps to fade.
    """
    outputs = head(hidden, hidden, atoms)
    with torch.no_grad():
        cast(nn.Linear, outputs[-1]).bias[0] += BEGIN_LOW
    return nn.Sequential(nn.Linear(inputs, hidden), nn.LayerNorm(hidden), nn.SiLU(), outputs)
