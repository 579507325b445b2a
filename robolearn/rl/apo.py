"""Preference from interventions: what people did becomes likelier, what they stopped becomes rarer.

A person watches the policy and takes over where it is about to fail (Xia et al., "Action Preference Optimization",
2025). What the person did is desirable, what the policy did shortly before is undesirable. Each chunk has its label
alone, without a partner, as in Ethayarajh et al., "KTO: Model Alignment as Prospect Theoretic Optimization", 2024. With
l the policy's training loss of the executed chunk, which bounds its negative log-likelihood (the ELBO), and l_ref that
of the policy as it was before, at the same noise and time, the implicit reward is

    r = -beta (l - l_ref),

and the loss is w (1 - sigma(r - z)) for a desirable chunk and w (1 - sigma(z - r)) for an undesirable one, where
z = max(0, mean r) of the batch is the reference point. Labels hold for more frames than they are true of: a chunk
weighs the more the less the policy does yet what is desirable, or the more it still does what is undesirable.

Which frames are a person's is said by a channel `intervention` of the dataset: 1 where a person acted, else 0.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from robolearn.acting import Acting
from robolearn.config import APOConfig
from robolearn.data.replay import Trajectory
from robolearn.errors import UserError
from robolearn.rl.chunks import arrays
from robolearn.rl.experience import Batch, Experience
from robolearn.rl.interaction import INTERVENTION
from robolearn.rl.networks import descend
from robolearn.rl.online import Clock
from robolearn.rl.reads import observation
from robolearn.rl.tuned import LEVELS, TunablePolicy, require_tunable
from robolearn.rl.units import Units

LABEL = "label"  # 1 desirable, -1 undesirable, 0 neither
GOES_ON = "goes_on"  # frames from here on, this one included, with the same label and of the same one, person or policy


class APO:
    """Policy, loss and updates; see `robolearn.rl.online.Algorithm`. It takes no steps: `OfflineTrainer` runs it."""

    def __init__(self, config: APOConfig, *, policy: TunablePolicy, units: Units, seed: int) -> None:
        """Initialise from a seed; the policy's own weights are changed.

        Raises:
            UserError: the policy is none of ours.
        """
        require_tunable(policy, samplers=("euler", "heun", "ddim"), algo="apo")
        torch.manual_seed(seed)
        self.config, self.policy, self.units, self.clock = config, policy, units, Clock()
        self.actor: nn.Module = policy.policy
        self.reference: Any = copy.deepcopy(policy.policy).requires_grad_(False)
        # a resumed run has other weights before it reads its checkpoint: the reference is kept there, too
        self.modules: dict[str, nn.Module] = {"reference": self.reference}
        learned = [p for p in self.actor.parameters() if p.requires_grad]
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "actor": torch.optim.Adam(learned, lr=config.learning_rate, fused=True)
        }
        self.generator = torch.Generator().manual_seed(seed)

    def acting(self, rng: np.random.Generator | None) -> Acting:
        """The policy with its weights of the moment."""
        return Acting(self.policy)

    def complete(self, trajectory: Trajectory) -> Trajectory:
        """Label the frames of an episode.

        Raises:
            UserError: the dataset does not say which frames are a person's.
        """
        frames = dict(trajectory.frames)
        if INTERVENTION not in frames:
            raise UserError(
                f"algo=apo learns from what people did: the dataset needs a channel '{INTERVENTION}' that is 1 where "
                "a person acted and 0 elsewhere"
            )
        before = round(self.config.stopped_seconds * self.policy.schema.fps)
        person = frames.pop(INTERVENTION)[:, 0] > 0.5
        label = labels(person, before=before, success=trajectory.success)
        return trajectory._replace(frames={**frames, LABEL: label, GOES_ON: goes_on(person, label)})

    def sample_losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses [B] of what was executed, by the policy and by the reference, at the same noise and time.

        A chunk ends where the label changes; the losses are means over what is left of it.
        """
        given = self.policy.prepare(observation(arrays(batch.frames), self.policy))
        beyond = torch.arange(batch.action.shape[1]) >= batch.frames[GOES_ON][:, None]
        given |= {"action": batch.action, "action_is_pad": ~batch.inside | beyond}
        levels: int = getattr(self.policy.policy.config, "num_train_timesteps", LEVELS)
        drawn = {
            "noise": torch.randn(batch.action.shape, generator=self.generator),
            "time": torch.randint(levels, (len(batch.action),), generator=self.generator) / levels,
        }
        with torch.no_grad():
            reference, _ = self.reference(given, reduction="none", **drawn)
        loss, _ = self.actor(given, reduction="none", **drawn)
        # the policy's losses are sums over actions: a short chunk would count as one that is done
        valid = (~given["action_is_pad"]).float().mean(dim=1)
        share = valid / valid.mean()
        return loss / share, reference / share

    def preference_loss(self, loss: Tensor, reference: Tensor, label: Tensor) -> Tensor:
        """Mean of the weighted losses of desirable and undesirable chunks [B]; see the module."""
        config, good = self.config, label > 0
        reward = config.beta * (reference - loss)
        point = reward.detach().mean().clamp_min(0.0)
        doubt = 1 - torch.exp(logsigmoid(torch.where(good, reward - point, point - reward)))
        share = torch.where(good, config.desirable_weight, config.undesirable_weight)
        return (share * relevance(loss.detach(), good) * doubt).mean()

    def update(self, experience: Experience) -> dict[str, Tensor]:
        """One step on the labelled chunks of a batch."""
        batch = experience.batch(self.config.batch_size, steps=self.policy.horizon)
        rows = batch.frames[LABEL] != 0
        if not rows.any():
            return {}
        batch = batch._replace(
            frames={key: values[rows] for key, values in batch.frames.items()},
            action=batch.action[rows],
            inside=batch.inside[rows],
        )
        label = batch.frames[LABEL]
        loss, reference = self.sample_losses(batch)
        total = self.preference_loss(loss, reference, label)
        if (good := label > 0).any() and self.config.imitation_weight:
            total = total + self.config.imitation_weight * loss[good].mean()
        descend(self.optimizers["actor"], total)
        gained = (reference - loss).detach()
        parts = {"desirable": gained[good], "undesirable": gained[~good]}
        figures = {f"gained_{name}": part.mean() for name, part in parts.items() if len(part)}
        return {"loss": total.detach(), **figures}

    def save(self, folder: Path) -> None:
        """Write the policy."""
        self.policy.write(folder)


def labels(person: NDArray[np.bool_], *, before: int, success: bool) -> NDArray[np.float32]:
    """Label each frame [T].

    A person's frames are desirable, the policy's `before` ones ahead of each intervention undesirable. What the person
    let the policy do otherwise is desirable in an episode that was solved, else it is neither.
    """
    label = np.where(person | success, 1.0, 0.0).astype(np.float32)
    for begin in np.flatnonzero(np.diff(person.astype(np.int8), prepend=np.int8(person[0])) == 1):
        label[max(begin - before, 0) : begin] = -1.0
    label[person] = 1.0
    return label


def goes_on(person: NDArray[np.bool_], label: NDArray[np.float32]) -> NDArray[np.int64]:
    """Frames [T] from each one on until somebody else acts, the label changes, or the episode ends."""
    changes = (person[1:] != person[:-1]) | (label[1:] != label[:-1])
    ends = np.append(np.flatnonzero(changes) + 1, len(person))
    frames = np.arange(len(person))
    return ends[np.searchsorted(ends, frames, side="right")] - frames


def relevance(loss: Tensor, good: Tensor) -> Tensor:
    """Weight of each chunk [B], of mean 1 among the desirable and among the undesirable.

    With m the batch's mean loss, 1 - exp(-l / m) of a desirable one and exp(-l / m) of an undesirable one.
    """
    done = torch.exp(-loss / loss.mean().clamp_min(1e-8))
    weight = torch.where(good, 1 - done, done)
    for group in (good, ~good):
        weight[group] /= weight[group].mean().clamp_min(1e-8)
    return weight
