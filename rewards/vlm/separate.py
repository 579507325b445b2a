"""A local vision-language model in a process of its own."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from robolearn.errors import UserError
from robolearn.rewards.vlm.answers import AnswerError
from robolearn.rewards.vlm.prompts import Request

END_TIMEOUT = 5.0  # s


class SeparateModel:
    """`LocalModel`, whose Python would hold up that of a simulation in the same process. Satisfies `Backend`.

    Attributes:
        name: the model's.
    """

    def __init__(self, folder: Path, *, device: str = "auto", max_tokens: int = 64, threads: int = 1) -> None:
        """Start the process and wait until it has loaded the model.

        Args:
            folder: see `LocalModel`, as for the next two.
            device: where it runs.
            max_tokens: longest answer.
            threads: of the CPU that it takes.

        Raises:
            UserError: the model cannot be loaded.
            RuntimeError: the process has ended.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        options = {"device": device, "max_tokens": max_tokens}
        self._process = context.Process(
            target=_serve, args=(theirs, folder, options, threads), name="robolearn-vlm", daemon=True
        )
        self._process.start()
        theirs.close()
        self._lock = threading.Lock()
        self.name: str = self._receive()

    def ask(self, requests: Sequence[Request]) -> list[str | AnswerError]:
        """Return what the model says to each request.

        Raises:
            RuntimeError: the process has ended.
        """
        with self._lock:
            with suppress(OSError):  # that it has ended shows when the answer is taken
                self._pipe.send(list(requests))
            answers: list[str | AnswerError] = self._receive()
            return answers

    def close(self) -> None:
        """End the process."""
        self._pipe.close()  # it ends at the end of its input
        self._process.join(END_TIMEOUT)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _receive(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(END_TIMEOUT)
            raise RuntimeError(f"the model's process ended with status {self._process.exitcode}") from error
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(pipe: Connection, folder: Path, options: dict[str, Any], threads: int) -> None:
    """What runs in the process, until its owner ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to handle
    with suppress(BrokenPipeError):
        try:
            import torch

            from robolearn.rewards.vlm.local import LocalModel

            torch.set_num_threads(threads)
            model = LocalModel(folder, **options)
            pipe.send(model.name)
            while True:
                pipe.send(model.ask(pipe.recv()))
        except EOFError:
            return
        except ModuleNotFoundError as error:
            pipe.send(UserError(f"a local model needs further packages: `uv sync --inexact --extra vla` ({error})"))
        except Exception as error:  # concerns the owner, and may be of a class that cannot be sent
            pipe.send(error if isinstance(error, UserError) else RuntimeError(f"{type(error).__name__}: {error}"))
