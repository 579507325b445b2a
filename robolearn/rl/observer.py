"""What actors and critics of online RL see of a frame: its vector, its pictures, where things are.

Where the vector holds poses of several bodies, their positions from each other are features too: a critic of a precise
task would have to learn from little data that a hand is a centimetre beside a cube, wherever on the table they are.

Convolutions and random shifts as in Yarats et al., "Mastering Visual Continuous Control: Improved Data-Augmented
Reinforcement Learning", 2021 (DrQ-v2): pictures are moved by a few pixels whenever a batch is learned from, which keeps
the critics from fitting single pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from robolearn.networks.relations import Relations
from robolearn.protocols import Observation
from robolearn.rl.units import VECTOR, Frames, Units

CHANNELS, KERNELS, STRIDES = (16, 32, 32), (5, 3, 3), (2, 2, 2)
SHIFT = 4 / 84  # largest shift as a share of a picture's side


class Observer(nn.Module):
    """Frames to features.

    Attributes:
        dim: width of the features.
    """

    def __init__(self, units: Units, *, picture_dim: int = 64) -> None:
        """Make one network per picture channel; without pictures there is nothing to learn."""
        super().__init__()
        self.keys = tuple(units.pictures)
        self.networks = nn.ModuleList(_network(units.pictures[key], picture_dim) for key in self.keys)
        self.relations = _relations(units) if len(units.poses) > 1 else None
        self.dim = units.obs_dim + picture_dim * len(self.keys)
        self.dim += 0 if self.relations is None else self.relations.width

    def forward(self, frames: Mapping[str, Tensor]) -> Tensor:
        """Return [B, dim] from the vector [B, obs_dim] and pictures, uint8 [B, height, width, colours]."""
        parts = [frames[VECTOR]]
        for key, network in zip(self.keys, self.networks, strict=True):
            # the colours' axis stays last in memory, which convolutions prefer
            parts.append(network(frames[key].movedim(-1, 1).float() / 127.5 - 1))
        if self.relations is not None:
            parts.append(self.relations(frames))
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def tensors(units: Units, frames: Frames) -> dict[str, Tensor]:
    """What an `Observer` reads, from channels [B, ...] in physical units."""
    return {key: torch.from_numpy(values) for key, values in units.frame(frames).items()}


def newest(units: Units, observation: Observation) -> dict[str, Tensor]:
    """The same from channels [B, n_obs_steps, ...], of the last step."""
    return tensors(units, {key: observation[key][:, -1] for key in (*units.vectors, *units.pictures)})


def shifted(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Move each picture [B, height, width, colours] by up to `SHIFT`, another way each; its edge fills the rest."""
    batch, height, width, _ = pictures.shape
    rows, columns = (
        (torch.arange(side) + _moves(batch, side, generator)).clamp(0, side - 1) for side in (height, width)
    )
    return pictures[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _moves(batch: int, side: int, generator: torch.Generator) -> Tensor:
    most = round(SHIFT * side)
    return torch.randint(-most, most + 1, (batch, 1), generator=generator)


def _relations(units: Units) -> Relations:
    relations = Relations({VECTOR: units.poses}, {VECTOR: units.obs_dim})
    offset, scale = units.of_vector()
    relations.set_units(VECTOR, offset=offset, scale=scale)
    return relations


def _network(shape: tuple[int, ...], dim: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = shape[-1]
    for channels, kernel, stride in zip(CHANNELS, KERNELS, STRIDES, strict=True):
        layers += [nn.Conv2d(before, channels, kernel, stride=stride, padding=kernel // 2), nn.ReLU()]
        before = channels
    body = nn.Sequential(*layers, nn.Flatten())
    with torch.no_grad():
        width = body(torch.zeros(1, shape[-1], *shape[:2])).shape[1]
    return nn.Sequential(body, nn.Linear(width, dim), _Bounded())


class _Bounded(nn.Module):
    """Layer norm and tanh, so that features have the size of the vector's components."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(functional.layer_norm(x, x.shape[-1:]))
