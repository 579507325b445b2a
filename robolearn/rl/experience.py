"""What an off-policy algorithm learns from: its own episodes and demonstrations, in batches of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robolearn.acting import ChunkActor
from robolearn.data.replay import Replay, Trajectory, Windows
from robolearn.language import TASK
from robolearn.protocols import Policy
from robolearn.rl.interaction import BASE, INTERVENTION
from robolearn.rl.observer import shifted
from robolearn.rl.potential import POTENTIAL, Shaping, reshaped
from robolearn.rl.reads import HISTORY, stored
from robolearn.rl.units import Frames, Units


class Batch(NamedTuple):
    """Tensors of `robolearn.data.replay.Windows`, of which it has the fields.

    Attributes:
        offset: what values at `frames` lose by shaping [B], 0 without.
        offset_after: the same at `after` [B].
        width: values lie in [-offset, width - offset].
    """

    frames: dict[str, Tensor]
    action: Tensor
    inside: Tensor
    reward: Tensor
    discount: Tensor
    after: dict[str, Tensor]
    offset: Tensor | float = 0.0
    offset_after: Tensor | float = 0.0
    width: float = 1.0

    def bounded(self, value: Tensor) -> Tensor:
        """Values of what follows [B] that lie where they can be."""
        return (value + self.offset_after).clamp(0.0, self.width) - self.offset_after


class Experience:
    """Episodes of the algorithm and of demonstrations.

    Attributes:
        online: what the algorithm did.
        demonstrations: what it was shown.
    """

    def __init__(
        self,
        *,
        capacity: int,
        demo_ratio: float,
        gamma: float,
        seed: int | tuple[int, ...],
        complete: Callable[[Trajectory], Trajectory] | None = None,
        shaping: Shaping | None = None,
    ) -> None:
        """Make room.

        Args:
            capacity: control steps of the algorithm's own that are kept.
            demo_ratio: share of a batch that comes from demonstrations, where there are any.
            gamma: discount per control step.
            seed: of the draws.
            complete: adds to an episode what the algorithm wants to find in a batch.
            shaping: of the rewards, where frames hold a potential.
        """
        self._complete, self._shaping = complete, shaping
        self.online, self.demonstrations = Replay(capacity), Replay(0)
        self.demo_ratio, self.gamma = demo_ratio, gamma
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(int(self._rng.integers(2**62)))

    def __len__(self) -> int:
        """Control steps that can be drawn."""
        return len(self.online) + len(self.demonstrations)

    def show(self, demonstrations: Sequence[Trajectory]) -> None:
        """Take demonstrations."""
        self.demonstrations = Replay(sum(len(one.reward) + 1 for one in demonstrations))
        for one in demonstrations:
            self.demonstrations.add(self._ready(one))

    def add(self, one: Trajectory) -> None:
        """Take an episode of the algorithm's own."""
        self.online.add(self._ready(one))

    def _ready(self, one: Trajectory) -> Trajectory:
        """An episode as it is drawn from."""
        if self._shaping is not None:
            one = reshaped(one, self._shaping, gamma=self.gamma)
        return one if self._complete is None else self._complete(one)

    def batch(self, size: int, *, steps: int) -> Batch:
        """Draw windows of up to `steps` control steps; pictures are shifted at random.

        Actions after an episode's end are those of other windows of the batch.
        """
        demos = 0
        if len(self.demonstrations):
            demos = round(size * self.demo_ratio) if len(self.online) else size
        parts = [
            replay.draw(self._rng, n, length=steps, gamma=self.gamma)
            for replay, n in ((self.online, size - demos), (self.demonstrations, demos))
            if n
        ]
        joined = parts[0] if len(parts) == 1 else _joined(*parts)
        action, inside = torch.from_numpy(joined.action), torch.from_numpy(joined.inside)
        if steps > 1:
            # nothing depends on what would be done after the end; repeated actions would tell a critic of chunks of it
            others = torch.randperm(size, generator=self._generator)
            action = torch.where(inside[..., None], action, action[others])
        batch = Batch(
            frames=self._frames(joined.frames),
            action=action,
            inside=inside,
            reward=torch.from_numpy(joined.reward),
            discount=torch.from_numpy(joined.discount),
            after=self._frames(joined.after),
        )
        if self._shaping is None:
            return batch
        now, after = (self._shaping.offset(frames[POTENTIAL]) for frames in (joined.frames, joined.after))
        width = self._shaping.width(self.gamma)
        return batch._replace(offset=torch.from_numpy(now), offset_after=torch.from_numpy(after), width=width)

    def _frames(self, frames: Frames) -> dict[str, Tensor]:
        tensors = {key: torch.from_numpy(np.ascontiguousarray(values)) for key, values in frames.items()}
        pictures = {key: x for key, x in tensors.items() if x.dtype == torch.uint8 and not key.startswith(HISTORY)}
        if any(key.startswith(HISTORY) for key in tensors):  # a base that is asked again must see what it saw
            tensors |= {HISTORY + key: x[:, None] for key, x in pictures.items() if HISTORY + key not in tensors}
        return tensors | {key: shifted(x, self._generator) for key, x in pictures.items()}


def _joined(one: Windows, other: Windows) -> Windows:
    def join(a: Any, b: Any) -> Any:
        if isinstance(a, dict):  # an arm's episodes say where a person acted, demonstrations may not
            return {key: join(a[key], b[key]) for key in a if key in b or key != INTERVENTION}
        return np.concatenate((a, b))

    return Windows(*(join(a, b) for a, b in zip(one, other, strict=True)))


def relabelled(
    episodes: Iterable[Frames],
    policy: Policy,
    units: Units,
    *,
    seed: int,
    successes: Sequence[bool] | None = None,
    reads: bool = False,
) -> list[Trajectory]:
    """Demonstrations as the learner stores episodes: sparse reward, and the base policy's own action at every state.

    Args:
        episodes: observations, `action` and, for a base that reads it, "task" [T, ...] each, in physical units; the
            last step of a solved one is its success. What was seen after it is not in a dataset; nothing depends on it.
            A potential of the frames, `POTENTIAL` [T], is kept; it is 1 after a success.
        policy: the base.
        units: normalisation.
        seed: of the base policy's noise.
        successes: which episodes were solved, all when None; in the others time ran out.
        reads: whether frames also hold what the policy reads, see `robolearn.rl.reads`, and where a person acted.
    """
    return [
        _relabelled(episode, policy, units, seed=seed + k, success=successes is None or bool(successes[k]), reads=reads)
        for k, episode in enumerate(episodes)
    ]


def _relabelled(episode: Frames, policy: Policy, units: Units, *, seed: int, success: bool, reads: bool) -> Trajectory:
    actor = ChunkActor(policy, 1)
    actor.reset([seed])
    steps = len(episode["action"])
    told = (*policy.schema.observation_keys, *((TASK,) if policy.reads_task else ()))
    rows = []
    for t in range(steps):
        base = actor.base_action({key: episode[key][t : t + 1] for key in told})
        rows.append({BASE: units.action(base), **(stored(actor.read()) if reads else {})})
    frames = {**units.frame(episode), **{key: np.concatenate([row[key] for row in rows]) for key in rows[0]}}
    if reads and INTERVENTION in episode:
        frames[INTERVENTION] = np.asarray(episode[INTERVENTION])
    padded = {key: np.concatenate((values, values[-1:])) for key, values in frames.items()}
    if POTENTIAL in episode:
        known = np.asarray(episode[POTENTIAL], np.float32)
        padded[POTENTIAL] = np.append(known, np.float32(1) if success else known[-1])
    reward = np.zeros(steps, np.float32)
    reward[-1] = float(success)
    return Trajectory(padded, units.action(episode["action"]), reward, terminated=success, success=success)
