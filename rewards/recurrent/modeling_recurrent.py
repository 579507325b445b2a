"""Progress by a recurrent state that is carried over snippets and records which stages are complete.

The idea of R2VLM, with a small network: memory and time per frame do not grow with the episode. Within a snippet the
frames so far are read on top of the last complete one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.rewards.model import Reading, RewardModel
from robolearn.rewards.recurrent.configuration_recurrent import RecurrentConfig
from robolearn.schema import Schema


class Carried(NamedTuple):
    """State between frames.

    Attributes:
        memory: [hidden_dim] after the last complete snippet.
        begun: features [hidden_dim] of the frames since then.
    """

    memory: Tensor
    begun: tuple[Tensor, ...]


class Recurrent(RewardModel):
    """Reward model `robolearn_recurrent`."""

    config_class = RecurrentConfig
    name = "robolearn_recurrent"
    config: RecurrentConfig

    def __init__(self, config: RecurrentConfig, **kwargs: Any) -> None:
        """See `RewardModel`."""
        super().__init__(config, **kwargs)
        dim = config.hidden_dim
        self.join = nn.Sequential(nn.Linear(config.snippet * dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.cell = nn.GRUCell(dim, dim)
        self.norm = nn.LayerNorm(2 * dim)
        self.completed = _head(2 * dim, dim, config.num_stages)
        self.tau = _head(2 * dim, dim, config.num_stages)

    @property
    def clip(self) -> tuple[int, int]:
        """See `RewardModel.clip`."""
        return self.config.snippet * self.config.snippets, 1

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of clips and figures to log; see `robolearn.rewards.clips.clips`.

        Of each snippet, one frame is asked about, as if it were the last one so far. The loss is the cross-entropy of
        the stages that are complete, each given that those before it are, plus the squared error of the progress
        within the current one.
        """
        size = self.config.snippet
        films = self.frames(batch).unflatten(1, (-1, size))
        memories = self._memories(films)
        last = torch.randint(size, films.shape[:2], device=films.device)
        asked = torch.arange(films.shape[1], device=films.device) * size + last
        truth = {key: batch[key].gather(1, asked) for key in ("stage", "tau", "valid")}
        read = torch.arange(size, device=films.device).minimum(last[..., None])
        partial = films.gather(2, read[..., None].expand_as(films))
        h = self._mixed(partial.flatten(0, 1), memories[:, :-1].flatten(0, 1))
        return self._loss(h, {key: value.flatten() for key, value in truth.items()})

    def start(self) -> Carried:
        """See `RewardModel.start`."""
        return Carried(torch.zeros(self.config.hidden_dim, device=self.before.device), ())

    def step(self, state: Carried, features: Tensor) -> tuple[Carried, Reading]:
        """See `RewardModel.step`."""
        begun = (*state.begun, features)
        snippet = torch.stack(begun + (features,) * (self.config.snippet - len(begun)))[None]
        reading = self._read(self._mixed(snippet, state.memory[None]))
        if len(begun) == self.config.snippet:
            state = Carried(self._remember(snippet, state.memory[None])[0], ())
        else:
            state = Carried(state.memory, begun)
        return state, Reading(*(value[0] for value in reading))

    def episode(self, features: Tensor) -> Reading:
        """See `RewardModel.episode`."""
        size, now = self.config.snippet, torch.arange(len(features), device=features.device)
        first = now - now % size
        read = torch.minimum(first[:, None] + torch.arange(size, device=features.device), now[:, None])
        complete = features[: len(features) // size * size].unflatten(0, (-1, size))
        memories = self._memories(complete[None])[0]
        return self._read(self._mixed(features[read], memories[now // size]))

    def _memories(self, films: Tensor) -> Tensor:
        """Return the states [B, snippets + 1, dim] before and after each snippet of films [B, snippets, size, dim]."""
        states = [films.new_zeros(len(films), films.shape[-1])]
        for snippet in films.unbind(1):
            states.append(self._remember(snippet, states[-1]))
        return torch.stack(states, dim=1)

    def _remember(self, snippet: Tensor, memory: Tensor) -> Tensor:
        """Return the state [B, dim] after a snippet [B, size, dim]."""
        after: Tensor = self.cell(self.join(snippet.flatten(1)), memory)
        return after

    def _mixed(self, snippet: Tensor, memory: Tensor) -> Tensor:
        """Return what is known [B, 2 dim] at the last frame of a snippet [B, size, dim]."""
        known: Tensor = self.norm(torch.cat((snippet[:, -1], self._remember(snippet, memory)), dim=1))
        return known

    def _read(self, h: Tensor) -> Reading:
        stages = self.calibrated(completed_to_stages(torch.sigmoid(self.completed(h))))
        return Reading(stages, self.whole(stages, torch.sigmoid(self.tau(h))))

    def _loss(self, h: Tensor, truth: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        stage, valid = truth["stage"], truth["valid"]
        count = torch.arange(self.config.num_stages, device=h.device)
        logits, open_ = self.completed(h), (stage[:, None] >= count) & valid[:, None]
        error = functional.binary_cross_entropy_with_logits(
            logits, (stage[:, None] > count).to(h.dtype), reduction="none"
        )
        stage_loss = (error * open_).sum() / valid.sum().clamp(min=1)
        now = (stage[:, None] == count) & valid[:, None]
        squared = (torch.sigmoid(self.tau(h)) - truth["tau"][:, None]).square()
        tau_loss = (squared * now).sum() / now.sum().clamp(min=1)
        with torch.no_grad():
            guess = completed_to_stages(torch.sigmoid(logits)).argmax(-1)
            right = (guess == stage)[valid].float().mean()
        figures = {"stage_loss": stage_loss.item(), "tau_loss": tau_loss.item(), "stage_accuracy": right.item()}
        return stage_loss + tau_loss, figures


def completed_to_stages(completed: Tensor) -> Tensor:
    """Return probabilities of the stages [..., K + 1].

    Args:
        completed: [..., K] probability that each stage is complete, given that those before it are.
    """
    reached = torch.cat((torch.ones_like(completed[..., :1]), completed.cumprod(-1)), dim=-1)
    return torch.cat((reached[..., :-1] * (1 - completed), reached[..., -1:]), dim=-1)


def build(schema: Schema, **settings: Any) -> Recurrent:
    """Return an untrained model for these channels; `settings` are fields of `RecurrentConfig`."""
    return Recurrent(RecurrentConfig.from_schema(schema, **settings))


def _head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))
