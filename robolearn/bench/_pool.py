"""Long runs: which are wanted and which are done; the rest in processes of their own, that end with their parent.

What a finished run found is kept beside the results, and committed: the benchmarks of many hours go on in another
checkout, on another day.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol

from robolearn.errors import UserError, nearest

WORKERS = 2
RECORDS = Path("benchmarks/results/runs")


class Resumable(Protocol):
    """A run whose result is kept.

    Attributes:
        record: file of its result.
        settings: what its result depends on.
        seed: of the run.
    """

    @property
    def record(self) -> Path: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def seed(self) -> int: ...


def narrow[Run: Resumable](
    bench: str,
    runs: Sequence[Run],
    *names: tuple[str, str, Sequence[str] | None],
    seeds: Sequence[int] | None,
    offered: Sequence[int],
) -> list[Run]:
    """Those of the runs that are wanted.

    Args:
        bench: the benchmark.
        runs: all that it has.
        *names: what a name is of, the attribute of runs that holds it, and the wanted ones; None wants all.
        seeds: the wanted ones; None wants all.
        offered: seeds that it has.

    Raises:
        UserError: an unknown name, or nothing is left.
    """
    for what, field, wanted in names:
        valid = {getattr(one, field) for one in runs}
        if unknown := [name for name in wanted or () if name not in valid]:
            raise UserError(f"`bench {bench}` has no {what} '{unknown[0]}'{nearest(unknown[0], valid)}")
    chosen = [
        one
        for one in runs
        if (seeds is None or one.seed in seeds)
        and all(wanted is None or getattr(one, field) in wanted for _, field, wanted in names)
    ]
    if not chosen:
        raise UserError(f"`bench {bench}` has no such run: seeds are {', '.join(map(str, offered))}")
    return chosen


def kept(one: Resumable) -> dict[str, Any] | None:
    """Result of a run that is finished, or None."""
    from robolearn.commands.common import read_result

    result = read_result(one.record)
    # as they look when read back
    return result if result is not None and result["settings"] == json.loads(json.dumps(one.settings)) else None


def seeds_of(runs: Sequence[Resumable]) -> tuple[int, ...]:
    """Seeds of those runs that are finished, in order."""
    return tuple(sorted({one.seed for one in runs if kept(one) is not None}))


def origin() -> dict[str, str]:
    """What a result keeps of where it comes from: commit and processor, which may be others than those of the rest."""
    from robolearn.eval.machine import commit, machine

    return {"commit": commit(), "cpu": machine()["cpu"]}


def finish_all[Run, Outcome](runs: Sequence[Run], finish: Callable[[Run], Outcome]) -> Iterator[Outcome]:
    """Yield what `finish` returns for each run, as they are finished.

    A process that dies ends the benchmark; what it had saved goes on next time.
    """
    workers = min(WORKERS, os.cpu_count() or 1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with, initargs=(os.getpid(),)) as pool:
        futures = [pool.submit(finish, one) for one in runs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with(parent: int) -> None:
    """End this process when its parent has: a run must not go on beside the one that resumes it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
