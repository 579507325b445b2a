"""What a launcher runs: work on blocks of seeds that any process can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from numpy.typing import NDArray

Result = dict[str, NDArray[Any]]
Work = Callable[[range], Result]


class Job(Protocol):
    """Plain data that is sent to workers. What a block gives depends on its seeds alone, not on who does it."""

    def open(self) -> AbstractContextManager[Work]:
        """Make what the work needs (worlds, a policy), once per worker, and give the function that does a block."""


@dataclass(frozen=True)
class Folder:
    """A folder that a job reads, sent along where the worker may be on another machine.

    Attributes:
        path: where it is on the machine of the launcher.
        files: content by relative path, or None if workers find it at `path`.
    """

    path: Path
    files: dict[str, bytes] | None = None

    @classmethod
    def read(cls, path: Path) -> Folder:
        """Take the files along."""
        found = sorted(file for file in path.rglob("*") if file.is_file())
        return cls(path, {str(file.relative_to(path)): file.read_bytes() for file in found})

    @contextmanager
    def here(self) -> Iterator[Path]:
        """Give the folder's place on this machine; a copy lasts as long as the block."""
        if self.files is None:
            yield self.path
            return
        with TemporaryDirectory(prefix="robolearn-") as copy:
            for name, content in self.files.items():
                file = Path(copy) / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            yield Path(copy)
