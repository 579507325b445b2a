"""IBRL (Hu et al., "Imitation Bootstrapped Reinforcement Learning", 2023): the better of two actions is taken.

Beside the frozen base policy an actor learns from scratch. Of its action and the base's own, the one that the target
critics value more is executed, and the same choice is what values are learned from:

    Q(o, a) <- R + gamma^k max over a' in {base(o'), mu'(o') + noise} of min_2 Q'(o', a'),    actor: -mean Q(o, mu(o)).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robolearn.acting import Acting
from robolearn.config import IBRLConfig
from robolearn.protocols import Policy
from robolearn.rl.experience import Batch, Experience
from robolearn.rl.interaction import BASE
from robolearn.rl.networks import EnsembleMLP, critics, descend, follow, frozen, optimizers
from robolearn.rl.observer import Observer, tensors
from robolearn.rl.online import Clock
from robolearn.rl.refinement import Rebuilt, save_refinement
from robolearn.rl.units import Frames, Units


class Proposer(nn.Module):
    """An actor and the critics that judge it beside the base.

    Attributes:
        observer: gives what is seen.
        net: of the action.
        judge: the target critics.
        judge_observer: what they see.
    """

    def __init__(self, units: Units, *, hidden: int, heads: int, layer_norm: bool) -> None:
        """Make the networks."""
        super().__init__()
        dim = len(units.action_names)
        self.observer = Observer(units)
        self.net = EnsembleMLP(self.observer.dim, dim, hidden=hidden)
        self.judge_observer = copy.deepcopy(self.observer).requires_grad_(False)
        self.judge = EnsembleMLP(self.observer.dim + dim, 1, hidden=hidden, heads=heads, layer_norm=layer_norm)
        self.judge.requires_grad_(False)

    def forward(self, seen: Tensor) -> Tensor:
        """What is seen [B, observer.dim] -> action [B, action_dim] in [-1, 1]."""
        return torch.tanh(self.net(seen)[0])

    def better(self, seen: Tensor, base: Tensor, own: Tensor, heads: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Where the actor's action is worth more than the base's [B], and the value of the better one [B].

        The worth is the least by the judge's `heads`, all when None; `seen` is the judge's.
        """
        values = [self.judge(seen, action, heads=heads)[..., 0].amin(dim=0) for action in (base, own)]
        return values[1] > values[0], torch.maximum(*values)


class Exploring(NamedTuple):
    """How a `Choice` explores.

    Attributes:
        rng: of the noise.
        noise: its deviation on the actor's action, in normalised units.
        begun: tells whether the actor takes part by now; before, the base acts alone.
    """

    rng: np.random.Generator
    noise: float
    begun: Callable[[], bool]


class Choice:
    """The better of the base's and the actor's action, as a `robolearn.acting.Correction`."""

    def __init__(self, proposer: Proposer, units: Units, exploring: Exploring | None = None) -> None:
        """Choose with the present weights; greedily where it does not explore."""
        self.proposer, self.units, self.exploring = proposer, units, exploring

    @torch.inference_mode()
    def __call__(self, observation: Frames, base_action: NDArray[np.float32]) -> NDArray[np.float32]:
        """The action to execute, in physical units."""
        if self.exploring is not None and not self.exploring.begun():
            return base_action
        frames = tensors(self.units, observation)
        base = torch.from_numpy(self.units.action(base_action))
        own = self.proposer(self.proposer.observer(frames))
        if self.exploring is not None:
            noise = self.exploring.rng.standard_normal(own.shape, np.float32) * np.float32(self.exploring.noise)
            own = (own + torch.from_numpy(noise)).clamp(-1, 1)
        chosen, _ = self.proposer.better(self.proposer.judge_observer(frames), base, own)
        return np.where(chosen.numpy()[:, None], self.units.physical(own.numpy()), base_action)


class IBRL:
    """Networks, losses and updates; see `robolearn.rl.online.Algorithm`."""

    def __init__(self, config: IBRLConfig, *, policy: Policy, units: Units, seed: int) -> None:
        """Initialise from a seed, on top of a policy."""
        torch.manual_seed(seed)
        self.config, self.policy, self.units, self.clock = config, policy, units, Clock()
        self.actor = Proposer(units, hidden=config.hidden, heads=config.num_critics, layer_norm=config.layer_norm)
        self.critic = critics(self.actor.observer.dim + len(units.action_names), config)
        self.critic.zero_last()  # the base acts until something is known
        self.actor.judge.load_state_dict(self.critic.state_dict())
        self.net_target = copy.deepcopy(self.actor.net).requires_grad_(False)
        self.modules: dict[str, nn.Module] = {"critic": self.critic, "net_target": self.net_target}
        self.optimizers = optimizers(self.actor.net, self.critic, self.actor.observer, config)
        self.generator = torch.Generator().manual_seed(seed)

    def acting(self, rng: np.random.Generator | None) -> Acting:
        """See `robolearn.rl.online.Algorithm.acting`."""
        exploring = None if rng is None else Exploring(rng, self.config.exploration_noise, self._begun)
        return Acting(self.policy, Choice(self.actor, self.units, exploring))

    def _begun(self) -> bool:
        """Whether the actor takes part in exploration by now."""
        return self.clock.steps >= self.config.warmup_steps

    def critic_loss(self, batch: Batch) -> Tensor:
        """Mean over heads of the squared TD error, with values within their bounds."""
        with torch.no_grad():
            seen = self.actor.judge_observer(batch.after)
            own = torch.tanh(self.net_target(seen)[0])
            noise = torch.randn(own.shape, generator=self.generator) * self.config.target_noise
            pair = torch.randperm(self.config.num_critics, generator=self.generator)[:2]
            _, value = self.actor.better(seen, batch.after[BASE], (own + noise).clamp(-1, 1), pair)
            target = batch.reward + batch.discount * batch.bounded(value)
        q = self.critic(self.actor.observer(batch.frames), batch.action[:, 0])[..., 0]
        return functional.mse_loss(q, target.expand_as(q))

    def actor_loss(self, batch: Batch) -> Tensor:
        """-mean Q(o, mu(o)) over the batch and the heads."""
        with torch.no_grad():
            seen = self.actor.observer(batch.frames)
        return -self.critic(seen, self.actor(seen)).mean()

    def update(self, experience: Experience) -> dict[str, Tensor]:
        """One step of the critics and, every `actor_every` of them, of the actor; the targets follow."""
        config = self.config
        batch = experience.batch(config.batch_size, steps=config.n_step)
        loss = self.critic_loss(batch)
        descend(self.optimizers["critic"], loss)
        follow(self.actor.judge.parts, self.critic.parts, config.tau)
        follow(self.actor.judge_observer, self.actor.observer, config.tau)
        metrics = {"critic_loss": loss.detach()}
        if self.clock.updates > config.critic_warmup_updates and self.clock.updates % config.actor_every == 0:
            with frozen(self.critic.parts):
                actor_loss = self.actor_loss(batch)
                descend(self.optimizers["actor"], actor_loss)
            follow(self.net_target.parts, self.actor.net.parts, config.tau)
            metrics["actor_loss"] = actor_loss.detach()
        return metrics

    def save(self, folder: Path) -> None:
        """Write actor and judge beside the base policy in `folder`."""
        config = self.config
        settings = {"hidden": config.hidden, "heads": config.num_critics, "layer_norm": config.layer_norm}
        save_refinement(folder, "ibrl", settings, self.actor)


def rebuild(settings: Mapping[str, Any], policy: Policy, units: Units) -> Rebuilt:
    """See `robolearn.rl.refinement`."""
    sizes = {key: settings[key] for key in ("hidden", "heads", "layer_norm")}
    proposer = Proposer(units, **sizes)
    return Rebuilt(proposer, Acting(policy, Choice(proposer, units)))
