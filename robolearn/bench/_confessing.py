"""`python -m robolearn.bench._confessing FILE WORDS`: `robolearn WORDS`, which notes in FILE what it has finished.

A line "episode N" follows when N episodes are written, "step N" when the checkpoint of step N is. What was noted is in
the file even if the process is killed right after.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any


def main(words: Sequence[str]) -> int:
    """Run the command line with the words after the first, which names the file; return the exit status."""
    from robolearn.cli import main as robolearn
    from robolearn.data.writer import DatasetWriter
    from robolearn.train import checkpoint, trainer

    file = os.open(words[0], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    add, save = DatasetWriter.add_episode, checkpoint.save_checkpoint

    def then(function: Callable[..., None], line: Callable[..., str]) -> Callable[..., None]:
        def both(*arguments: Any, **options: Any) -> None:
            function(*arguments, **options)
            os.write(file, (line(*arguments) + "\n").encode())

        return both

    noted_add = then(add, lambda writer, *_: f"episode {writer.num_episodes}")
    setattr(DatasetWriter, "add_episode", noted_add)  # noqa: B010 (no type checker takes an assignment)
    setattr(trainer, "save_checkpoint", then(save, lambda _path, _groups, state: f"step {state['step']}"))  # noqa: B010
    return robolearn(words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
