"""Training windows: history of observations and the actions that follow, around any frame of any episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from robolearn.data.images import Images
from robolearn.errors import UserError

Batch = dict[str, NDArray[np.generic]]


class Windows:
    """Index arithmetic over channels in memory.

    At an episode's edges LeRobot's convention holds: history before the first frame repeats the first frame, actions
    after the last repeat the last and are marked in `action_is_pad`. No window crosses into another episode.
    """

    def __init__(
        self,
        channels: Mapping[str, NDArray[np.float32] | Images],
        *,
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        n_obs_steps: int,
        horizon: int,
        task_index: NDArray[np.int64] | None = None,
        loss_weight: NDArray[np.float32] | None = None,
    ) -> None:
        """Prepare windows over channels, "action" among them.

        Args:
            channels: arrays [frames, n] or pictures by channel; every one but "action" is an observation.
            starts: [episodes] first frame of each episode; episodes follow each other without gap.
            ends: [episodes] one past the last.
            n_obs_steps: frames of history, the current one included.
            horizon: actions from the current one on.
            task_index: [frames] number of each frame's instruction, if batches shall have it.
            loss_weight: [frames] how much each window counts in training, if batches shall have it.
        """
        if n_obs_steps < 1 or horizon < 1:
            raise UserError(f"n_obs_steps ({n_obs_steps}) and horizon ({horizon}) must be at least 1")
        self.channels = dict(channels)
        lengths = ends - starts
        self._first = np.repeat(starts, lengths)[:, None]
        self._last = np.repeat(ends - 1, lengths)[:, None]
        self._past = np.arange(1 - n_obs_steps, 1)
        self._future = np.arange(horizon)
        self._of_frame = {"task_index": task_index, "loss_weight": loss_weight}

    def __len__(self) -> int:
        """Number of windows: one per frame."""
        return len(self._first)

    def batch(self, frames: NDArray[np.integer]) -> Batch:
        """Return the windows around these frames.

        Returns:
            Each observation [B, n_obs_steps, n], oldest first; "action" [B, horizon, n]; "action_is_pad" [B, horizon];
            "task_index" [B] and "loss_weight" [B] if wanted.

            RGB pictures are uint8 [B, n_obs_steps, height, width, 3], as the simulator and cameras give them: a quarter
            of the bytes of float32 on their way to the device, where the policy scales them. To torch,
            `torch.from_numpy(x).permute(0, 1, 4, 2, 3)` is a view in channels-last order, which convolutions prefer.
        """
        now = frames[:, None]
        past = np.maximum(now + self._past, self._first[frames])
        future = now + self._future
        last = self._last[frames]
        result: Batch = {key: _take(values, past) for key, values in self.channels.items() if key != "action"}
        result["action"] = _take(self.channels["action"], np.minimum(future, last))
        result["action_is_pad"] = future > last
        return result | {key: values[frames] for key, values in self._of_frame.items() if values is not None}

    def shuffled(self, batch_size: int, *, seed: int) -> Callable[[int], Batch]:
        """Return a function from the training step to its batch.

        Every frame is drawn once per epoch, in an order of that epoch's own; the batch of a step depends on seed and
        step alone, so a resumed run needs no state. The last, incomplete batch of an epoch is dropped; a set smaller
        than a batch gives batches of the set's size.
        """
        size = min(batch_size, len(self))
        per_epoch = len(self) // size
        order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

        def batch_of(step: int) -> Batch:
            nonlocal order
            epoch, place = divmod(step, per_epoch)
            if order[0] != epoch:
                order = (epoch, np.random.default_rng((seed, epoch)).permutation(len(self)))
            return self.batch(order[1][place * size : (place + 1) * size])

        return batch_of


def _take(values: NDArray[np.float32] | Images, frames: NDArray[np.integer]) -> NDArray[np.generic]:
    return values.take(frames) if isinstance(values, Images) else values.take(frames, axis=0)
