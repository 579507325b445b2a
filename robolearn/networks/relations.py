"""Where things are from each other's point of view: what stages hang on, wherever on the table they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.proprioception import POSE_DIM, POSE_NAMES
from robolearn.schema import Schema

SCALES = (0.2, 0.02)  # m: across the table, and within a grasp


def pose_slots(schema: Schema) -> dict[str, list[int]]:
    """Return where poses begin in each observed channel: `robolearn.proprioception.POSE_NAMES` in a row."""
    slots = {}
    for key in schema.observation_keys:
        names = schema[key].names
        found = [
            i
            for i in range(len(names) - POSE_DIM + 1)
            if names[i].endswith("_x")
            and names[i : i + POSE_DIM] == tuple(f"{names[i].removesuffix('_x')}_{n}" for n in POSE_NAMES)
        ]
        if found and not schema[key].is_picture:
            slots[key] = found
    return slots


class Relations(nn.Module):
    """The position of every body in the frame of every other, coarse and fine.

    p_AB = R_B^T (p_A - p_B) in m, divided by each of `SCALES` and squashed by tanh.
    """

    def __init__(self, slots: Mapping[str, Sequence[int]], widths: Mapping[str, int]) -> None:
        """Build it for poses that begin at `slots` of channels of these widths; units are those of `set_units`."""
        super().__init__()
        self.slots = {key: tuple(places) for key, places in slots.items()}
        for key in self.slots:
            self.register_buffer(f"offset_{_name(key)}", torch.zeros(widths[key]))
            self.register_buffer(f"scale_{_name(key)}", torch.ones(widths[key]))
        count = sum(map(len, self.slots.values()))
        self.width = len(SCALES) * 3 * count * (count - 1)

    def set_units(self, key: str, *, offset: NDArray[np.float32], scale: NDArray[np.float32]) -> None:
        """Say what a channel's normalised values stand for: value * scale + offset, in m where they are positions."""
        if key in self.slots:
            getattr(self, f"offset_{_name(key)}").copy_(torch.from_numpy(offset))
            getattr(self, f"scale_{_name(key)}").copy_(torch.from_numpy(scale))

    def forward(self, frames: Mapping[str, Tensor]) -> Tensor:
        """Return [..., width] from normalised channels [..., n]."""
        poses = torch.stack([pose for key in self.slots for pose in self._poses(frames[key], key)], dim=-2)
        position, first, second = poses[..., :3], poses[..., 3:6], poses[..., 6:9]
        axes = torch.stack((first, second, torch.linalg.cross(first, second)), dim=-2)
        apart = position[..., :, None, :] - position[..., None, :, :]  # of A from B [..., A, B, 3]
        seen = (axes[..., None, :, :, :] @ apart[..., None])[..., 0]
        count = poses.shape[-2]
        others = ~torch.eye(count, dtype=torch.bool, device=poses.device)
        flat = seen.flatten(-3, -2)[..., others.flatten().nonzero()[:, 0], :].flatten(-2)
        return torch.cat([torch.tanh(flat / scale) for scale in SCALES], dim=-1)

    def _poses(self, values: Tensor, key: str) -> list[Tensor]:
        physical = values * getattr(self, f"scale_{_name(key)}") + getattr(self, f"offset_{_name(key)}")
        return [physical[..., place : place + POSE_DIM] for place in self.slots[key]]


def _name(key: str) -> str:
    return key.replace(".", "_")
