"""Progress by a recurrent state that is carried over snippets and records which stages are complete.

The idea of R2VLM, with a small network: memory and time per frame do not grow with the episode. Within a snippet the
frames so far are read on top of the last complete one. Before the first frame the state settles on it, as if the
picture had stood still for a while: otherwise it would go on filling, and progress moving, where nothing moves. It can
also say which kind of failure an episode looks like, as AHA does (Duan et al. 2024), but by a small head on the same
state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.errors import UserError
from robolearn.rewards.heads import head
from robolearn.rewards.model import Reading, RewardModel
from robolearn.rewards.recurrent.configuration_recurrent import RecurrentConfig
from robolearn.schema import Schema

KINDS_WEIGHT = 0.1  # of the kinds' loss: stages and progress come first
SETTLING = 4  # snippets of the first frame before it


class Carried(NamedTuple):
    """State between frames.

    Attributes:
        memory: [hidden_dim] after the last complete snippet; None before the first frame.
        begun: features [hidden_dim] of the frames since then.
    """

    memory: Tensor | None
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
        self.completed = head(2 * dim, dim, config.num_stages)
        self.tau = head(2 * dim, dim, config.num_stages)
        self.kind = head(2 * dim, dim, 1 + len(config.kinds)) if config.kinds else None

    @property
    def clip(self) -> tuple[int, int]:
        """See `RewardModel.clip`."""
        return self.config.snippet * self.config.snippets, 1

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of clips and figures to log; see `robolearn.rewards.clips.clips`.

        Of each snippet, one frame is asked about, as if it were the last one so far. The loss is the cross-entropy of
        the stages that are complete, each given that those before it are, plus the squared error of the progress
        within the current one; and, where kinds of failure are told, their cross-entropy. Films with a wrong
        instruction do not count there, nor those of a kind that is not to be told, where "kind" is -1.
        """
        size = self.config.snippet
        films = self.frames(batch).unflatten(1, (-1, size))
        memories = self._memories(films, first=films[:, 0, 0])
        last = torch.randint(size, films.shape[:2], device=films.device)
        asked = torch.arange(films.shape[1], device=films.device) * size + last
        keys = ("stage", "tau", "valid", *(("kind",) if self.kind is not None else ()))
        truth = {key: batch[key].gather(1, asked) for key in keys}
        if self.kind is not None:
            truth["kind"] = truth["kind"].masked_fill(batch["wrong"][:, None] | ~truth["valid"], -1)
        read = torch.arange(size, device=films.device).minimum(last[..., None])
        partial = films.gather(2, read[..., None].expand_as(films))
        h = self.mixed(partial.flatten(0, 1), memories[:, :-1].flatten(0, 1))
        return self._loss(h, {key: value.flatten() for key, value in truth.items()})

    def start(self) -> Carried:
        """See `RewardModel.start`."""
        return Carried(None, ())

    def step(self, state: Carried, features: Tensor) -> tuple[Carried, Reading]:
        """See `RewardModel.step`."""
        state, known = self.advance(state, features)
        return state, Reading(*(value[0] for value in self.read(known)))

    def advance(self, state: Carried, features: Tensor) -> tuple[Carried, Tensor]:
        """Like `step`, but return what is known [1, 2 hidden_dim], which `read` and `kinds_of` read."""
        memory = self.settled(features[None]) if state.memory is None else state.memory[None]
        begun = (*state.begun, features)
        snippet = torch.stack(begun + (features,) * (self.config.snippet - len(begun)))[None]
        known = self.mixed(snippet, memory)
        if len(begun) == self.config.snippet:
            return Carried(self.remember(snippet, memory)[0], ()), known
        return Carried(memory[0], begun), known

    def episode(self, features: Tensor) -> Reading:
        """See `RewardModel.episode`."""
        return self.read(self._whole(features))

    def kinds(self, features: Tensor) -> Tensor:
        """Return probabilities [T, 1 + kinds] of no failure and of each kind, at each frame from those up to it.

        Args:
            features: [T, hidden_dim] of an episode's frames.
        """
        return self.kinds_of(self._whole(features))

    def kinds_of(self, known: Tensor) -> Tensor:
        """Return calibrated probabilities [..., 1 + kinds] from what is known [..., 2 hidden_dim].

        Raises:
            UserError: the model tells no kinds.
        """
        if self.kind is None:
            raise UserError("this reward model tells no kinds of failure: train one with reward.kinds=[auto]")
        return torch.softmax(self.kind(known) / self.config.kinds_temperature, dim=-1)

    def _whole(self, features: Tensor) -> Tensor:
        """Return what is known [T, 2 dim] at each frame of an episode."""
        size, now = self.config.snippet, torch.arange(len(features), device=features.device)
        first = now - now % size
        read = torch.minimum(first[:, None] + torch.arange(size, device=features.device), now[:, None])
        complete = features[: len(features) // size * size].unflatten(0, (-1, size))
        memories = self._memories(complete[None], first=features[:1])[0]
        return self.mixed(features[read], memories[now // size])

    def _memories(self, films: Tensor, *, first: Tensor) -> Tensor:
        """Return the states [B, snippets + 1, dim] before and after each snippet of films.

        Args:
            films: [B, snippets, size, dim].
            first: [B, dim] frames, which are there where a film is shorter than a snippet too.
        """
        states = [self.settled(first)]
        for snippet in films.unbind(1):
            states.append(self.remember(snippet, states[-1]))
        return torch.stack(states, dim=1)

    def settled(self, first: Tensor) -> Tensor:
        """Return the state [B, dim] before the first frame [B, dim] of an episode."""
        still = first[:, None].expand(-1, self.config.snippet, -1)
        memory = torch.zeros_like(first)
        for _ in range(SETTLING):
            memory = self.remember(still, memory)
        return memory

    def remember(self, snippet: Tensor, memory: Tensor) -> Tensor:
        """Return the state [B, dim] after a snippet [B, size, dim]."""
        after: Tensor = self.cell(self.join(snippet.flatten(1)), memory)
        return after

    def mixed(self, snippet: Tensor, memory: Tensor) -> Tensor:
        """Return what is known [B, 2 dim] at the last frame of a snippet [B, size, dim]."""
        known: Tensor = self.norm(torch.cat((snippet[:, -1], self.remember(snippet, memory)), dim=1))
        return known

    def read(self, known: Tensor) -> Reading:
        """Return the readings [...] of what is known [..., 2 hidden_dim]."""
        stages = self.calibrated(completed_to_stages(torch.sigmoid(self.completed(known))))
        return Reading(stages, self.whole(stages, torch.sigmoid(self.tau(known))))

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
        if self.kind is None:
            return stage_loss + tau_loss, figures
        told = (truth["kind"] >= 0).sum().clamp(min=1)
        kind_loss = functional.cross_entropy(self.kind(h), truth["kind"], ignore_index=-1, reduction="sum") / told
        return stage_loss + tau_loss + KINDS_WEIGHT * kind_loss, figures | {"kind_loss": kind_loss.item()}


def completed_to_stages(completed: Tensor) -> Tensor:
    """Return probabilities of the stages [..., K + 1].

    Args:
        completed: [..., K] probability that each stage is complete, given that those before it are.
    """
    products = [torch.ones_like(completed[..., 0])]  # ONNX has no cumulative product
    for one in completed.unbind(-1):
        products.append(products[-1] * one)
    reached = torch.stack(products, dim=-1)
    return torch.cat((reached[..., :-1] * (1 - completed), reached[..., -1:]), dim=-1)


def build(schema: Schema, **settings: Any) -> Recurrent:
    """Return an untrained model for these channels; `settings` are fields of `RecurrentConfig`."""
    return Recurrent(RecurrentConfig.from_schema(schema, **settings))
