"""The device of a training, and the processes that share it where `accelerate launch` or `torchrun` started several."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from robolearn.errors import UserError

# what a launcher tells its processes
RANK, SIZE, LOCAL_RANK, ADDRESS = "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"
PATIENCE = timedelta(hours=6)  # for the first process while it evaluates


@dataclass(frozen=True)
class Ranks:
    """This process among those of a training.

    Attributes:
        rank: its number.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that evaluates, tells and writes files."""
        return self.rank == 0

    def sum_(self, values: Tensor) -> None:
        """Replace `values`, of the same shape everywhere, by their sum over the processes."""
        if self.size > 1:
            dist.all_reduce(values)


def pick_device(name: str) -> torch.device:
    """Return the device for "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps", ...

    Without a number, each process of a machine takes a GPU of its own.

    Raises:
        UserError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device == torch.device("cuda"):
            device = torch.device("cuda", int(os.environ.get(LOCAL_RANK, "0")))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"there is no device '{name}' here ({str(error).partition(chr(10))[0]}): give auto, cpu, or one that is"
        ) from error
    return device


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes of the launcher, if there are any, for the time of the block."""
    if ADDRESS not in os.environ or int(os.environ.get(SIZE, "1")) == 1:
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
