"""Blocks done in this process, or by processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from robolearn.launch.job import Job, Result

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def here(job: Job, blocks: Iterator[range]) -> Generator[Result]:
    """Yield the results of the blocks, done one after the other in this process."""
    with job.open() as work:
        for seeds in blocks:
            yield work(seeds)


def in_processes(job: Job, blocks: Iterator[range], *, workers: int) -> Generator[Result]:
    """Yield the results of the blocks in their order.

    Blocks go round the workers, one at a time each, so that what comes back in turn is in order.

    Raises:
        Exception: what a block raised in its worker.
        RuntimeError: a worker was killed.
    """
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(workers)]
    processes = [context.Process(target=_serve, args=(theirs, job), daemon=True) for _, theirs in pairs]
    try:
        with environment(ONE_THREAD):  # libraries read it when a process imports them
            for process in processes:
                process.start()
        busy: deque[Connection] = deque()
        for ours, theirs in pairs:
            theirs.close()
            _give(ours, blocks, busy)
        while busy:
            ours = busy.popleft()
            answer = _receive(ours)
            _give(ours, blocks, busy)
            yield answer
    finally:
        for process in processes:
            if process.pid is not None:
                process.terminate()
                process.join()


def _give(pipe: Connection, blocks: Iterator[range], busy: deque[Connection]) -> None:
    seeds = next(blocks, None)
    if seeds is not None:
        with suppress(BrokenPipeError):  # the worker has ended: what it said last is still to be received
            pipe.send(seeds)
        busy.append(pipe)


def _receive(pipe: Connection) -> Result:
    try:
        answer = pipe.recv()
    except (EOFError, ConnectionResetError):
        raise RuntimeError("a worker ended early; its message is above") from None
    if isinstance(answer, Exception):
        raise answer
    result: Result = answer
    return result


def _serve(pipe: Connection, job: Job) -> None:
    """A worker's life: do the blocks of seeds that come through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key press reaches all processes; the parent tells the workers
    try:
        with job.open() as work:
            while True:
                pipe.send(work(pipe.recv()))
    except (EOFError, BrokenPipeError):
        return  # the parent is gone
    except Exception as error:
        pipe.send(error)


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment for the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
