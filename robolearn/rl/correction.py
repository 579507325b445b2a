"""A residual beside its base policy: acting, exploring, saving and loading."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.rl.networks import EnsembleMLP
from robolearn.rl.observer import Observer
from robolearn.rl.units import Frames, Units

WEIGHTS, SIZES = "residual.safetensors", "residual.json"


class ResidualActor(nn.Module):
    """mu(o, a_base) -> tanh in [-1, 1]; zero at first, so that the base's rollouts are unchanged.

    Attributes:
        observer: gives o.
        scale: [action_dim] largest change of each component, as a share of its bounds.
    """

    scale: Tensor

    def __init__(self, observer: Observer, action_dim: int, *, hidden: int, scale: Sequence[float]) -> None:
        """Make the network; `scale` has one value per component of the action."""
        super().__init__()
        self.observer = observer
        self.net = EnsembleMLP(observer.dim + action_dim, action_dim, hidden=hidden)
        self.net.zero_last()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))

    def forward(self, seen: Tensor, base: Tensor) -> Tensor:
        """What is seen [B, observer.dim] and normalised base action [B, action_dim] -> residual [B, action_dim]."""
        return torch.tanh(self.net(torch.cat((seen, base), dim=-1))[0])

    def combine(self, base: Tensor, residual: Tensor) -> Tensor:
        """Executed action clip(a_base + s residual, -1, 1), in normalised units."""
        return (base + self.scale * residual).clamp(-1, 1)

    @torch.inference_mode()
    def act(self, frames: Frames, base: NDArray[np.float32]) -> NDArray[np.float32]:
        """Action [n, action_dim] without noise, of normalised arrays."""
        given = torch.from_numpy(base)
        seen = self.observer({key: torch.from_numpy(values) for key, values in frames.items()})
        action: NDArray[np.float32] = self.combine(given, self(seen, given)).numpy()
        return action


class ResidualCorrection:
    """An actor as a `robolearn.acting.Correction`, without noise."""

    def __init__(self, actor: ResidualActor, units: Units) -> None:
        """Correct with the actor's present weights."""
        self.actor, self.units = actor, units

    def __call__(self, observation: Frames, base_action: NDArray[np.float32]) -> NDArray[np.float32]:
        """clip(a_base + s residual), in physical units."""
        base = self.units.action(base_action)
        action = self.actor.act(self.units.frame(observation), base)
        # where nothing was changed the base's own bits: there and back through the units would round them
        return np.where(action == base, base_action, self.units.physical(action))


class Exploration:
    """A residual that explores: Gaussian noise on the action, and at first often no residual at all.

    Worlds may have different noises: some find what none does who stays near, others show what precision is worth
    (mixed exploration; Li et al., "Parallel Q-Learning", 2023; here in geometric steps).
    """

    def __init__(
        self,
        correction: ResidualCorrection,
        rng: np.random.Generator,
        *,
        share: Callable[[], float],
        noise: float,
        spread: float = 1.0,
    ) -> None:
        """Explore.

        Args:
            correction: what is explored around.
            rng: of the noise.
            share: gives the share of the steps that use the residual at the moment, the others the base's own action.
            noise: its deviation, in normalised units.
            spread: deviations go from noise / spread in the first world to noise * spread in the last one.
        """
        self.correction, self.rng, self.share, self.noise, self.spread = correction, rng, share, noise, spread

    def __call__(self, observation: Frames, base_action: NDArray[np.float32]) -> NDArray[np.float32]:
        """clip(a_base + s residual + noise), in physical units."""
        units = self.correction.units
        action = units.action(self.correction(observation, base_action))
        noise = self.rng.standard_normal(action.shape, np.float32) * self._deviations(len(action))
        action = units.physical(np.clip(action + noise, -1, 1))
        if (share := self.share()) < 1.0:
            alone = self.rng.random((len(action), 1)) >= share
            action = np.where(alone, base_action, action)
        return action

    def _deviations(self, worlds: int) -> NDArray[np.float32]:
        """Return the deviations [worlds, 1]; a single world has the middle one."""
        places = np.linspace(-1, 1, worlds) if worlds > 1 else np.zeros(1)
        return (self.noise * self.spread**places).astype(np.float32)[:, None]


def save_residual(folder: Path, actor: ResidualActor) -> None:
    """Write the actor beside a policy in `folder`."""
    sizes = {"hidden": actor.net.weights[0].shape[2], "scale": actor.scale.tolist()}
    save_file(actor.state_dict(), folder / WEIGHTS)
    (folder / SIZES).write_text(json.dumps(sizes) + "\n")


def load_residual(folder: Path, units: Units) -> ResidualCorrection | None:
    """Read what `save_residual` wrote; None where the folder holds a policy alone.

    Raises:
        UserError: the weights are not those of the sizes beside them.
    """
    if not (folder / SIZES).exists():
        return None
    sizes = json.loads((folder / SIZES).read_text())
    scale = sizes["scale"]
    actor = ResidualActor(Observer(units), len(scale), hidden=sizes["hidden"], scale=scale)
    read_weights(actor, folder / WEIGHTS, sizes=SIZES)
    return ResidualCorrection(actor, units)


def read_weights(network: nn.Module, path: Path, *, sizes: str) -> None:
    """Fill a network that was made by the file `sizes` beside.

    Raises:
        UserError: the weights are missing or not of these sizes.
    """
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, FileNotFoundError) as error:
        raise UserError(f"{path} does not fit {sizes}: fine-tune again, or copy the folder whole") from error
