"""Blocks done by actors of a Ray cluster; one that is lost costs only the blocks that it had."""

from __future__ import annotations

import heapq
import logging
import os
import socket
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robolearn.errors import UserError
from robolearn.launch.job import Job, Result, Work

AHEAD = 2  # blocks given to a worker: the one that it does and the next
TRIES = 3  # losses of one block, or of workers that never began, after which something else must be wrong

NO_CLUSTER = "no Ray cluster answers at ray.address={}: start one with `ray start --head`, or give ray.address=local"

Item = tuple[int, range]  # a block and its place in the order


def on_ray(job: Job, blocks: Iterator[range], *, workers: int, address: str, cpus: float) -> Generator[Result]:
    """Yield the results of the blocks in their order.

    At most `AHEAD` blocks per worker are anywhere between here and the workers, so that memory is bounded however
    slowly results are taken. Workers begin as the cluster has room for them.

    Args:
        job: sent to every worker; `robolearn` must be installed on all machines.
        blocks: with or without end.
        workers: actors.
        address: "auto" for the running cluster, "local" for a new one on this machine, or HOST:PORT.
        cpus: that each worker reserves.

    Raises:
        Exception: what a block raised in its worker.
        RuntimeError: workers are lost again and again.
        UserError: there is no such cluster.
    """
    with connected(address, room=workers * cpus) as ray:
        pool = _Pool(ray, job, workers=workers, cpus=cpus)
        try:
            yield from pool.run(blocks)
        finally:
            pool.close()


@contextmanager
def connected(address: str, *, room: float) -> Iterator[Any]:
    """Ray, connected for the block; a connection of the caller's is used and left as it is."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a warning about GPUs
    import ray

    if ray.is_initialized():
        yield ray
        return
    _require_answer(address)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        quiet |= {"include_dashboard": False, "num_cpus": max(room, os.cpu_count() or 1)}
    try:
        ray.init(address, **quiet)
    except (ConnectionError, ValueError) as error:
        raise UserError(NO_CLUSTER.format(address)) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Refuse HOST:PORT where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise UserError(NO_CLUSTER.format(address)) from error


class _Actor:
    """What runs in a worker."""

    def __init__(self, job: Job) -> None:
        self._job, self._stack = job, ExitStack()
        self._work: Work | None = None

    def start(self) -> None:
        self._work = self._stack.enter_context(self._job.open())

    def run(self, seeds: range) -> Result:
        assert self._work is not None
        return self._work(seeds)


@dataclass(eq=False)
class _Worker:
    """An actor as the driver sees it, and the blocks given to it, in the order in which it does them."""

    actor: Any
    ready: bool = False
    items: list[Item] = field(default_factory=list)


class _Pool:
    """Workers, and the blocks that they have."""

    def __init__(self, ray: Any, job: Job, *, workers: int, cpus: float) -> None:
        self._ray, self._job, self._size = ray, ray.put(job), workers
        self._kind = ray.remote(_Actor).options(num_cpus=cpus, max_restarts=0, scheduling_strategy="SPREAD")
        self._workers: list[_Worker] = []
        self._pending: dict[Any, tuple[_Worker, Item | None]] = {}  # no item: the worker begins
        self._given, self._ended = 0, False  # blocks taken from the iterator; whether it has no more
        self._lost: list[Item] = []  # a heap of blocks to be done again
        self._losses: Counter[int] = Counter()
        self._done: dict[int, Result] = {}
        for _ in range(workers):
            self._hire()

    def run(self, blocks: Iterator[range]) -> Generator[Result]:
        turn = 0
        while True:
            self._assign(blocks, until=turn + AHEAD * self._size)
            if self._ended and turn == self._given:
                return
            ready, _ = self._ray.wait(list(self._pending), num_returns=1)
            self._settle(ready[0])
            while turn in self._done:
                yield self._done.pop(turn)
                turn += 1

    def close(self) -> None:
        for worker in self._workers:
            self._ray.kill(worker.actor)

    def _hire(self) -> None:
        worker = _Worker(self._kind.remote(self._job))
        self._workers.append(worker)
        # a worker for which the cluster has no room yet gets no blocks that others would have to wait for
        self._pending[worker.actor.start.remote()] = worker, None

    def _assign(self, blocks: Iterator[range], *, until: int) -> None:
        while free := [worker for worker in self._workers if worker.ready and len(worker.items) < AHEAD]:
            item = self._next(blocks, until)
            if item is None:
                return
            worker = min(free, key=lambda worker: len(worker.items))
            worker.items.append(item)
            self._pending[worker.actor.run.remote(item[1])] = worker, item

    def _next(self, blocks: Iterator[range], until: int) -> Item | None:
        if self._lost:
            return heapq.heappop(self._lost)
        if self._ended or self._given == until:
            return None
        seeds = next(blocks, None)
        if seeds is None:
            self._ended = True
            return None
        self._given += 1
        return self._given - 1, seeds

    def _settle(self, reference: Any) -> None:
        worker, item = self._pending.pop(reference)
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None  # what the job itself raised
        except self._ray.exceptions.RayError as error:
            self._lose(worker, error)
            return
        if item is None:
            worker.ready = True
            self._losses[-1] = 0
        else:
            worker.items.remove(item)
            # copies, for the arrays lie in Ray's store and keep their room there
            self._done[item[0]] = {key: np.array(values) for key, values in answer.items()}

    def _lose(self, worker: _Worker, error: Exception) -> None:
        number, what = -1, "workers end before they begin"
        if worker.items:  # the first is the one that it was doing
            number, what = worker.items[0][0], f"seeds {worker.items[0][1]} end every worker"
        self._losses[number] += 1
        if self._losses[number] > TRIES:
            raise RuntimeError(f"{what}: {error}") from error
        self._pending = {ref: (other, item) for ref, (other, item) in self._pending.items() if other is not worker}
        for item in worker.items:
            heapq.heappush(self._lost, item)
        self._workers.remove(worker)
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker.actor)
        self._hire()
