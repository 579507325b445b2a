"""Long runs in processes of their own, two at a time, that end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

WORKERS = 2


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
