"""Stage-aware reward model (SARM, Chen et al. 2025), without the mistakes of public implementations.

The window ends at the present frame; a frame is one token, so that no stream of it can look at later frames; frames
before the episode count in no loss; progress within a stage cannot roll over into the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.networks.attention import TransformerBlock
from robolearn.rewards.losses import stage_and_tau_loss
from robolearn.rewards.model import Reading, RewardModel
from robolearn.rewards.sarm.configuration_sarm import SARMConfig
from robolearn.schema import Schema


class SARM(RewardModel):
    """Reward model `robolearn_sarm`."""

    config_class = SARMConfig
    name = "robolearn_sarm"
    config: SARMConfig

    def __init__(self, config: SARMConfig, **kwargs: Any) -> None:
        """See `RewardModel`."""
        super().__init__(config, **kwargs)
        dim = config.hidden_dim
        self.place = nn.Parameter(0.02 * torch.randn(config.window, dim))
        self.blocks = nn.ModuleList(TransformerBlock(dim, config.num_heads) for _ in range(config.num_blocks))
        self.norm = nn.LayerNorm(dim)
        self.stage = nn.Linear(dim, config.num_stages + 1)
        self.given = nn.Linear(config.num_stages + 1, dim, bias=False)
        self.tau = nn.Sequential(nn.SiLU(), nn.Linear(dim, dim // 2), nn.SiLU(), nn.Linear(dim // 2, 1))
        self.register_buffer("mask", torch.ones(config.window, config.window).tril().bool(), persistent=False)

    @property
    def clip(self) -> tuple[int, int]:
        """See `RewardModel.clip`."""
        return self.config.window, self.config.gap

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss CE(stage) + MSE(tau) of clips, and figures to log; see `robolearn.rewards.clips.clips`."""
        h = self._look(self.frames(batch))
        logits = self.stage(h)
        told = torch.rand(len(h), 1, device=h.device) < self.config.true_stage
        given = torch.where(told, batch["stage"], logits.argmax(-1))
        tau = self._tau(h, functional.one_hot(given, self.config.num_stages + 1).to(h.dtype))
        return stage_and_tau_loss(logits, tau, batch)

    def start(self) -> list[Tensor]:
        """See `RewardModel.start`: the features of the last frames."""
        return []

    def step(self, state: list[Tensor], features: Tensor) -> tuple[list[Tensor], Reading]:
        """See `RewardModel.step`."""
        span = (self.config.window - 1) * self.config.gap + 1
        state = [*state, features][-span:]
        film = [state[0]] * (span - len(state)) + state
        reading = self._read(torch.stack(film[:: self.config.gap])[None])
        return state, Reading(*(value[0] for value in reading))

    def episode(self, features: Tensor) -> Reading:
        """See `RewardModel.episode`."""
        past = self.config.gap * torch.arange(1 - self.config.window, 1, device=features.device)
        shown = torch.arange(len(features), device=features.device)[:, None] + past
        return self._read(features[shown.clamp(min=0)])

    def _look(self, features: Tensor) -> Tensor:
        """Return [B, window, dim], each frame mixed with those before it."""
        h = features + self.place
        for block in self.blocks:
            h = block(h, self.mask)
        mixed: Tensor = self.norm(h)
        return mixed

    def _read(self, windows: Tensor) -> Reading:
        """Return the reading of the last frame of windows [B, window, dim]."""
        h = self._look(windows)[:, -1]
        stages = self.calibrated(torch.softmax(self.stage(h), dim=-1))
        hypotheses = torch.eye(self.config.num_stages + 1, device=h.device)[:-1]
        tau = self._tau(h[:, None].expand(-1, len(hypotheses), -1), hypotheses)
        return Reading(stages, self.whole(stages, tau))

    def _tau(self, h: Tensor, stage: Tensor) -> Tensor:
        """Return progress [...] in [0, 1] within stages, from features [..., dim] and one-hot stages [..., K + 1]."""
        return torch.sigmoid(self.tau(h + self.given(stage))[..., 0])


def build(schema: Schema, **settings: Any) -> SARM:
    """Return an untrained model for these channels; `settings` are fields of `SARMConfig`."""
    return SARM(SARMConfig.from_schema(schema, **settings))
