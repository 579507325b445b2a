"""Training steps that `robolearn bench train` times: ours and LeRobot's, alone and with loading."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from robolearn.bench._lerobot import REPO, Built
from robolearn.bench._turns import Turn
from robolearn.train.feed import Batches

UNLIMITED = 10**6  # steps of a schedule that nobody sees the end of
Step = Callable[[Mapping[str, Any]], None]


class _OverError(Exception):
    """The turn is over."""


def our_training(policy: Any, batches: Batches, *, batch_size: int) -> Turn:
    """Samples per second of our trainer's loop, everything in it included, saving excepted.

    Args:
        policy: goes on where it was in the turn before, with a fresh optimiser.
        batches: from the step to its batch.
        batch_size: samples of each.
    """
    from robolearn.train.trainer import train

    def measure(seconds: float) -> float:
        ends: list[float] = []

        def on_step(step: int, loss: float, rate: float) -> None:
            ends.append(time.perf_counter())
            # the first step makes the optimiser's state: it does not count
            if len(ends) > 1 and ends[-1] - ends[0] >= seconds:
                raise _OverError

        with TemporaryDirectory(prefix="robolearn-bench-") as out, suppress(_OverError):
            train(policy, batches, steps=UNLIMITED, save_every=UNLIMITED, out=Path(out), on_step=on_step)
        return batch_size * (len(ends) - 1) / (ends[-1] - ends[0])

    return measure


def their_training(built: Built, open_batches: Callable[[], Any], *, batch_size: int) -> Turn:
    """Samples per second of LeRobot's loop: `open_batches` is a context that gives an endless iterator."""
    step = their_step(built.policy, batch_size=batch_size)

    def measure(seconds: float) -> float:
        with open_batches() as batches:
            step(next(batches))
            samples, start = 0, time.perf_counter()
            while True:
                batch = next(batches)
                step(batch)
                samples += len(batch["action"])
                spent = time.perf_counter() - start
                if spent >= seconds:
                    return samples / spent

    return measure


def their_step(policy: Any, *, batch_size: int) -> Step:
    """The update of `lerobot-train`: its own function, optimiser, schedule and accelerator."""
    from accelerate import Accelerator
    from lerobot.configs.default import DatasetConfig
    from lerobot.configs.train import TrainPipelineConfig
    from lerobot.optim.factory import make_optimizer_and_scheduler
    from lerobot.scripts.lerobot_train import update_policy
    from lerobot.utils.logging_utils import AverageMeter, MetricsTracker

    config = policy.config
    run = TrainPipelineConfig(
        DatasetConfig(REPO),
        policy=config,
        batch_size=batch_size,
        optimizer=config.get_optimizer_preset(),
        scheduler=config.get_scheduler_preset(),
    )
    optimizer, scheduler = make_optimizer_and_scheduler(run, policy)
    accelerator = Accelerator(step_scheduler_with_optimizer=False, cpu=True)
    policy, optimizer, scheduler = accelerator.prepare(policy, optimizer, scheduler)
    meters = {name: AverageMeter(name) for name in ("loss", "grad_norm", "lr", "update_s")}
    tracker = MetricsTracker(batch_size, UNLIMITED, 1, meters, accelerator=accelerator)
    clip = config.get_optimizer_preset().grad_clip_norm

    def step(batch: Mapping[str, Any]) -> None:
        update_policy(tracker, policy, batch, optimizer, clip, accelerator=accelerator, lr_scheduler=scheduler)
        tracker.step()

    return step


def the_same(batches: Sequence[Mapping[str, Any]]) -> Callable[[], Any]:
    """Batches that are there already, round and round."""

    @contextmanager
    def opened() -> Iterator[Iterator[Mapping[str, Any]]]:
        yield cycle(batches)

    return opened


def their_batches(built: Built, root: Path, *, batch_size: int, workers: int) -> Callable[[], Any]:
    """What `lerobot-train` draws from a dataset: sampler, loader and pre-processor of its own.

    Workers live for a turn; their start does not count.
    """
    from lerobot.datasets import EpisodeAwareSampler
    from lerobot.datasets.factory import resolve_delta_timestamps
    from lerobot.datasets.lerobot_dataset import LeRobotDataset, LeRobotDatasetMetadata
    from lerobot.utils.utils import cycle as forever
    from torch.utils.data import DataLoader

    config = built.policy.config
    offsets = resolve_delta_timestamps(config, LeRobotDatasetMetadata(REPO, root=root))
    dataset = LeRobotDataset(REPO, root=root, delta_timestamps=offsets, return_uint8=True)
    episodes = dataset.meta.episodes
    settings: dict[str, Any] = {"num_workers": workers}
    if workers:
        settings |= {"prefetch_factor": 4, "persistent_workers": True, "multiprocessing_context": "spawn"}

    @contextmanager
    def opened() -> Iterator[Iterator[Mapping[str, Any]]]:
        sampler = EpisodeAwareSampler(
            episodes["dataset_from_index"],
            episodes["dataset_to_index"],
            drop_n_last_frames=getattr(config, "drop_n_last_frames", 0),
            shuffle=True,
        )
        loader: Any = DataLoader(dataset, batch_size, sampler=sampler, drop_last=False, **settings)
        stream: Any = forever(loader)
        try:
            yield (built.before(batch) for batch in stream)
        finally:
            stream.close()
            del loader
            gc.collect()  # nobody holds the workers any more: they end

    return opened
