"""A flow or diffusion policy of ours whose weights on-policy RL changes: what it must offer, and how it explores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.acting import Acting
from robolearn.config import OnPolicyConfig
from robolearn.errors import UserError
from robolearn.protocols import Observation, Policy
from robolearn.rl.on_policy import Critic
from robolearn.rl.online import Clock
from robolearn.rl.rollouts import Explorer, Rollout
from robolearn.rl.units import Units
from robolearn.schema import ActionChunk

LEVELS = 1000  # times at which a flow's loss is drawn, where the policy has no levels of its own
GIVEN = "given."  # prefix of what the policy read, in the notes of a decision
Sampled = tuple[Tensor, dict[str, Tensor]]
# mean and deviation of what follows x [B, H, A], of the number of the step [B] and what was observed [B, ...]
Transition = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class TunablePolicy(Policy, Protocol):
    """A policy that serves a network of ours.

    Attributes:
        policy: module with `observe(batch)`, `network(x, time, observed[, step])`, `sampler` and `config`.
    """

    policy: Any

    def prepare(self, observation: Observation) -> dict[str, Tensor]:
        """What the module reads."""

    def physical(self, chunk: Tensor) -> NDArray[np.float32]:
        """A chunk of the module in physical units."""

    def write(self, folder: Path) -> None:
        """Write the policy with its present weights."""


def require_tunable(policy: Any, *, samplers: tuple[str, ...], algo: str) -> None:
    """Check that an algorithm can change the weights of a policy.

    Raises:
        UserError: it cannot; the message says of which it could.
    """
    kind = "diffusion" if samplers == ("ddim",) else "flow" if "ddim" not in samplers else "flow or diffusion"
    module = getattr(policy, "policy", None)
    if not isinstance(module, nn.Module) or not hasattr(module, "network") or not hasattr(module, "observe"):
        raise UserError(
            f"algo={algo} changes the weights of a {kind} policy that `robolearn train` made, which this one is not: "
            "give another checkpoint, or algo=ppo_residual, which takes any"
        )
    if getattr(module.config, "horizons", ()):
        raise UserError(f"algo={algo} cannot tune a mixture of horizons: train a policy with policy.horizons=[]")
    sampler: Any = module.sampler
    if (name := sampler["name"]) not in samplers:
        raise UserError(
            f"algo={algo} tunes a {kind} policy that samples by {' or '.join(samplers)}, this one does by {name}: "
            "train another"
        )


class Tuning:
    """What algorithms that change a policy's weights have alike; see `robolearn.rl.on_policy.OnPolicyAlgorithm`."""

    def __init__(
        self,
        config: OnPolicyConfig,
        *,
        policy: TunablePolicy,
        units: Units,
        seed: int,
        samplers: tuple[str, ...],
        algo: str,
    ) -> None:
        """Initialise from a seed all but the optimisers.

        Raises:
            UserError: see `require_tunable`.
        """
        require_tunable(policy, samplers=samplers, algo=algo)
        torch.manual_seed(seed)
        self.policy, self.clock = policy, Clock()
        self.actor: nn.Module = policy.policy
        self.critic = Critic(units, hidden=config.hidden)
        self.modules: dict[str, nn.Module] = {"critic": self.critic}
        self.generator = torch.Generator().manual_seed(seed)

    def acting(self, rng: np.random.Generator | None) -> Acting:
        """The policy itself, with its own sampler, which adds no noise."""
        return Acting(self.policy)

    def save(self, folder: Path) -> None:
        """Write the policy."""
        self.policy.write(folder)


class Exploring:
    """Satisfies `robolearn.protocols.Policy` with a sampler of an algorithm's own, and notes what it did.

    Attributes:
        noted: what the sampler told of the newest chunks [n, ...], and what the policy had read, `GIVEN` + its key.
    """

    def __init__(self, policy: TunablePolicy, sample: Callable[[Tensor, Tensor], Sampled], *, draws: int) -> None:
        """Explore.

        Args:
            policy: the base.
            sample: gives chunks [n, horizon, action_dim] and what is to be noted, from what `observe` gave [n, ...] and
                standard noise [n, draws, horizon, action_dim].
            draws: see there.
        """
        self.base, self._sample = policy, sample
        self.schema, self.reads_task = policy.schema, policy.reads_task
        self.n_obs_steps, self.horizon, self.n_action_steps = policy.n_obs_steps, policy.horizon, policy.n_action_steps
        self.noise_shape: tuple[int, ...] | None = (draws, policy.horizon, *policy.schema.action.shape)
        self.noted: dict[str, Tensor] = {}
        self._low = np.array(self.schema.action.low, np.float32)
        self._high = np.array(self.schema.action.high, np.float32)

    @torch.no_grad()
    def predict_chunk(
        self, observation: Observation, noise: NDArray[np.float32] | None = None, n_samples: int = 1
    ) -> ActionChunk:
        """See `robolearn.protocols.Policy.predict_chunk`; one chunk per observation, from a given noise."""
        if noise is None or n_samples != 1:
            raise ValueError("exploration takes noise, and one sample")
        given = self.base.prepare(observation)
        chunk, note = self._sample(self.base.policy.observe(given), torch.from_numpy(noise))
        self.noted = note | {f"{GIVEN}{key}": x for key, x in given.items()}
        values = self.base.physical(chunk).clip(self._low, self._high)
        return ActionChunk(values, t0=0.0, dt=1.0 / self.schema.fps)

    def explorer(self) -> Explorer:
        """As the loop takes it."""
        return Explorer(Acting(self), lambda: self.noted, every_step=False)


def given(note: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the policy had read, of a decision's notes."""
    return {key.removeprefix(GIVEN): x for key, x in note.items() if key.startswith(GIVEN)}


def log_density(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log-density of N(mean, std^2) at x [..., horizon, action_dim], summed over the components of an action."""
    z = (x - mean) / std
    return -(0.5 * z.square() + std.log() + 0.5 * math.log(2 * math.pi)).sum(dim=-1)


def counted(steps: Tensor, *, denoising: int, horizon: int) -> Tensor:
    """Which terms [B, denoising, horizon] of a chunk's log-likelihood count, for chunks executed for `steps` [B].

    Of the last denoising step only the actions that were executed: the others can be integrated out, for nothing
    depends on them. At the earlier steps they tell the network what to do with the rest.
    """
    counts = torch.ones(len(steps), denoising, horizon)
    counts[:, -1] = (torch.arange(horizon) < steps[:, None]).float()
    return counts


def walk(transition: Transition, observed: Tensor, noise: Tensor, *, kept: int) -> Sampled:
    """Sample chunks [n, H, A] by Gaussian transitions from noise [n, 1 + steps, H, A].

    Of the last `kept` = K steps, notes "chain" [n, K + 1, H, A] and "log_prob" [n, K, H] of each transition.
    """
    steps = noise.shape[1] - 1
    way, told = [noise[:, 0]], []
    for k in range(steps):
        mean, std = transition(way[-1], torch.full((len(noise),), k), observed)
        way.append(mean + std * noise[:, k + 1])
        told.append(log_density(way[-1], mean, std))
    first = steps - kept
    return way[-1], {"chain": torch.stack(way[first:], dim=1), "log_prob": torch.stack(told[first:], dim=1)}


def changes(transition: Transition, observed: Tensor, part: Rollout, *, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compare what `walk` noted with the transitions of the moment.

    Args:
        transition: see there.
        observed: at each decision [B, ...].
        part: the decisions.
        steps: of the sampler, of which the last K were kept.

    Returns:
        New less old log-density of each action at each step, 0 where it does not count, and the number of components
        that it is summed over [B, K, H]; the new deviations.
    """
    chain = part.note["chain"]
    batch, k = len(chain), chain.shape[1] - 1
    index = torch.arange(steps - k, steps).repeat(batch)
    mean, std = transition(chain[:, :-1].flatten(0, 1), index, observed.repeat_interleave(k, dim=0))
    log_prob = log_density(chain[:, 1:].flatten(0, 1), mean, std).unflatten(0, (batch, k))
    counts = counted(part.steps, denoising=k, horizon=chain.shape[2])
    return (log_prob - part.note["log_prob"]) * counts, counts * chain.shape[3], std
