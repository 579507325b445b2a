"""Jobs for tests of launchers; workers import them from here."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from robolearn.errors import UserError


@dataclass(frozen=True)
class Squares:
    """Squares of the seeds, and who computed them.

    Attributes:
        wrong: a seed that is refused.
        slow: seconds that a block takes.
        deadly: a folder; the worker that first finds the seed 7 in a block leaves a mark there and is killed.
        always_deadly: whether it is killed in spite of the mark.
    """

    wrong: int | None = None
    slow: float = 0.0
    deadly: str | None = None
    always_deadly: bool = False

    @contextmanager
    def open(self):
        yield self.work

    def work(self, seeds: range):
        time.sleep(self.slow)
        if self.wrong is not None and self.wrong in seeds:
            raise UserError(f"seed {self.wrong} is unlucky: take another")
        if self.deadly is not None and 7 in seeds:
            mark = os.path.join(self.deadly, "mark")
            if self.always_deadly or not os.path.exists(mark):
                with open(mark, "w"):
                    pass
                os.kill(os.getpid(), signal.SIGKILL)
        return {"square": np.array(seeds) ** 2, "pid": np.array([os.getpid()]), "node": np.array([node()])}


@dataclass(frozen=True)
class Broken:
    """Cannot even begin."""

    @contextmanager
    def open(self):
        raise UserError("there is no such task: give another")
        yield


def node() -> str:
    """The Ray node of this process, or an empty string."""
    import sys

    ray = sys.modules.get("ray")
    return ray.get_runtime_context().get_node_id() if ray is not None and ray.is_initialized() else ""


def squares(results) -> list[int]:
    """What `Squares` computed, in the order in which it came."""
    return [int(x) for result in results for x in result["square"]]
