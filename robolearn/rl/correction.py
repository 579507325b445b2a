"""A trained residual beside its base policy: acting, saving, loading, and the graph that is exported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.normalize import Normalizer
from robolearn.rl.residual import ResidualActor

Frames = Mapping[str, NDArray[Any]]
WEIGHTS, SIZES = "residual.safetensors", "residual.json"


class Units:
    """Between physical units and the flat normalised arrays of the learner."""

    def __init__(self, normalizer: Normalizer, keys: Sequence[str]) -> None:
        """Flatten the channels `keys` in this order."""
        self.normalizer, self.keys = normalizer, tuple(keys)

    def observation(self, frame: Frames) -> NDArray[np.float32]:
        """[n, obs_dim] of channels [n, ...]."""
        return np.concatenate([self.normalizer[key](frame[key]) for key in self.keys], axis=-1)

    def action(self, action: NDArray[Any]) -> NDArray[np.float32]:
        """Physical action to [-1, 1]."""
        return np.clip(self.normalizer["action"](action), -1, 1)

    def physical(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Back to physical units."""
        return self.normalizer["action"].inverse(action)


class ResidualCorrection:
    """An actor as a `robolearn.acting.Correction`, without noise."""

    def __init__(self, actor: ResidualActor, units: Units) -> None:
        """Correct with the actor's present weights."""
        self.actor, self.units = actor, units

    def __call__(self, observation: Frames, base_action: NDArray[np.float32]) -> NDArray[np.float32]:
        """clip(a_base + s residual), in physical units."""
        base = self.units.action(base_action)
        action = self.actor.act(self.units.observation(observation), base)
        # where nothing was changed the base's own bits: there and back through the units would round them
        return np.where(action == base, base_action, self.units.physical(action))


class ResidualGraph(nn.Module):
    """(observation_1, ..., observation_k, base_action) -> residual [B, action_dim], in normalised units."""

    def __init__(self, actor: ResidualActor) -> None:
        """Wrap the actor; its weights are shared."""
        super().__init__()
        self.actor = actor

    def forward(self, *inputs: Tensor) -> Tensor:
        """Each observation [B, dim], then the base action [B, action_dim]."""
        *observations, base = inputs
        residual: Tensor = self.actor(torch.cat(observations, dim=-1), base)
        return residual


def save_residual(folder: Path, actor: ResidualActor) -> None:
    """Write the actor beside a policy in `folder`."""
    weight = actor.net.weights[0]
    action_dim = len(actor.scale)
    sizes = {"obs_dim": weight.shape[1] - action_dim, "action_dim": action_dim, "hidden": weight.shape[2]}
    save_file(actor.state_dict(), folder / WEIGHTS)
    (folder / SIZES).write_text(json.dumps({**sizes, "scale": actor.scale.tolist()}) + "\n")


def load_residual(folder: Path, units: Units) -> ResidualCorrection | None:
    """Read what `save_residual` wrote; None where the folder holds a policy alone.

    Raises:
        UserError: the weights are not those of the sizes beside them.
    """
    if not (folder / SIZES).exists():
        return None
    sizes = json.loads((folder / SIZES).read_text())
    actor = ResidualActor(sizes["obs_dim"], sizes["action_dim"], hidden=sizes["hidden"], scale=sizes["scale"])
    try:
        actor.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, FileNotFoundError) as error:
        raise UserError(
            f"{folder / WEIGHTS} does not fit {SIZES}: fine-tune again, or copy the folder whole"
        ) from error
    return ResidualCorrection(actor, units)
