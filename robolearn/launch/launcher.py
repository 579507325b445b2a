"""One face for all ways to run blocks of seeds: results come back in the order of the blocks."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from robolearn.errors import UserError, nearest
from robolearn.launch.job import Folder, Job, Result
from robolearn.launch.local import here, in_processes

KINDS = ("local", "ray")


@dataclass(frozen=True)
class Launcher:
    """Who does the work.

    Attributes:
        kind: "local" for this machine, "ray" for a cluster.
        workers: processes; one of kind "local" is this process itself.
        address: of the Ray cluster, see `robolearn.launch.on_ray`.
        cpus: that each worker reserves on the cluster.
    """

    kind: str = "local"
    workers: int = 1
    address: str = "auto"
    cpus: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"unknown launcher '{self.kind}'{nearest(self.kind, KINDS)}")

    @property
    def alone(self) -> bool:
        """Whether this process does it all."""
        return self.kind == "local" and self.workers == 1

    def folder(self, path: Path) -> Folder:
        """A folder that workers read."""
        return Folder.read(path) if self.kind == "ray" else Folder(path)

    def map(self, job: Job, blocks: Iterator[range]) -> Generator[Result]:
        """Yield the result of each block, in order; close the generator to stop early."""
        if self.kind == "ray":
            from robolearn.launch.on_ray import on_ray

            return on_ray(job, blocks, workers=self.workers, address=self.address, cpus=self.cpus)
        return here(job, blocks) if self.alone else in_processes(job, blocks, workers=self.workers)


HERE = Launcher()


def seed_blocks(first: int, *, wanted: int, num_envs: int, workers: int) -> Iterator[range]:
    """Yield consecutive seeds from `first` on, without end, in blocks that suit about `wanted` episodes.

    A block fills the worlds of a worker once or twice, and every worker gets some.
    """
    size = min(max(num_envs, -(-wanted // workers)), 2 * num_envs)
    return (range(start, start + size) for start in count(first, size))
