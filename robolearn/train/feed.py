"""Batches as tensors, fetched ahead where a GPU would otherwise wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Batches = Callable[[int], Mapping[str, NDArray[Any] | Tensor]]
Host = dict[str, Tensor]


@contextmanager
def feed(batches: Batches, *, steps: int, device: torch.device) -> Iterator[Callable[[int], Host]]:
    """Give a function from the step to its batch in the CPU's memory.

    For a GPU the batch of the next step is made by a thread and put into pinned memory, from which it is copied
    beside the computation.
    """
    if device.type != "cuda":
        yield lambda step: to_tensors(batches(step))
        return
    with ThreadPoolExecutor(1) as thread:
        yield _Ahead(thread, lambda step: {key: x.pin_memory() for key, x in to_tensors(batches(step)).items()}, steps)


def to_tensors(batch: Mapping[str, NDArray[Any] | Tensor]) -> Host:
    """Wrap arrays as tensors, without a copy and with their types: pictures stay uint8."""
    return {key: torch.from_numpy(x) if isinstance(x, np.ndarray) else x for key, x in batch.items()}


class _Ahead:
    """While the batch of one step is used, that of the next is made."""

    def __init__(self, thread: ThreadPoolExecutor, make: Callable[[int], Host], steps: int) -> None:
        self._thread, self._make, self._steps = thread, make, steps
        self._next: dict[int, Future[Host]] = {}

    def __call__(self, step: int) -> Host:
        ready = self._next.pop(step, None)
        batch = self._make(step) if ready is None else ready.result()
        if step + 1 < self._steps:
            self._next[step + 1] = self._thread.submit(self._make, step + 1)
        return batch
