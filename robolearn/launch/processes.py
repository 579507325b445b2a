"""Actors in processes of this machine: the part of Ray's face that one needs who gives calls and takes answers.

Nobody waits for anybody else's pipe: what is to be sent waits in a thread, on both ends. An actor whose owner ends,
however that happens, is told by the end of its pipe and ends in order: an arm is brought to rest.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any

from robolearn.launch.local import ONE_THREAD, environment

END_TIMEOUT = 10.0  # s that an actor may take to end in order


class ActorError(Exception):
    """An actor's process is gone."""


class ActorTaskError(ActorError):
    """A call raised `cause`."""

    def __init__(self, cause: Exception) -> None:
        """Keep what was raised."""
        super().__init__(str(cause))
        self.cause = cause


class _Exceptions:
    """Names as in `ray.exceptions`."""

    RayError, RayTaskError = ActorError, ActorTaskError


class Call:
    """A reference to the answer of one call, to be taken in the order of an actor's calls."""

    def __init__(self, actor: Actor) -> None:
        """Of an actor."""
        self.actor = actor


class Actor:
    """A handle: `actor.method.remote(...)` gives the call."""

    def __init__(self, kind: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Start a process that makes `kind(*arguments)`, a class with a method `close`, and does its calls."""
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(there, kind, arguments), name="robolearn-actor", daemon=True
        )
        with environment(ONE_THREAD):  # libraries read it when a process imports them
            self.process.start()
        there.close()
        self._sending = ThreadPoolExecutor(1)

    def __getattr__(self, name: str) -> _Method:
        return _Method(self, name)

    def send(self, message: tuple[str, tuple[Any, ...]]) -> None:
        """Give a call; that the process is gone shows when its answer is taken."""
        self._sending.submit(_send, self.pipe, pickle.dumps(message))

    def receive(self) -> Any:
        """Take the next answer.

        Raises:
            ActorError: the process is gone.
        """
        try:
            return pickle.loads(self.pipe.recv_bytes())
        except (EOFError, OSError) as error:
            self.process.join(END_TIMEOUT)
            raise ActorError(f"process {self.process.pid} ended with status {self.process.exitcode}") from error

    def end(self) -> None:
        """End the process, in order if it can."""
        self.process.terminate()
        self.process.join(END_TIMEOUT)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self._sending.shutdown()
        self.pipe.close()


class _Method:
    def __init__(self, actor: Actor, name: str) -> None:
        self._actor, self._name = actor, name

    def remote(self, *arguments: Any) -> Call:
        self._actor.send((self._name, arguments))
        return Call(self._actor)


class _Kind:
    def __init__(self, kind: Callable[..., Any]) -> None:
        self._kind = kind

    def options(self, **_: Any) -> _Kind:
        """There is nothing to choose on one machine."""
        return self

    def remote(self, *arguments: Any) -> Actor:
        return Actor(self._kind, arguments)


class Processes:
    """Stands in for the module `ray`."""

    exceptions = _Exceptions

    @staticmethod
    def put(value: Any) -> Any:
        """A reference to `value`: itself."""
        return value

    @staticmethod
    def remote(kind: Callable[..., Any]) -> _Kind:
        """What makes actors of a class that has a method `close`."""
        return _Kind(kind)

    @staticmethod
    def wait(calls: Sequence[Call], *, num_returns: int, timeout: float | None) -> tuple[list[Call], list[Call]]:
        """Calls, one of each actor, that have an answer, `num_returns` at most, and the others."""
        ready = wait([call.actor.pipe for call in calls], timeout)
        over = [call for call in calls if call.actor.pipe in ready][:num_returns]
        return over, [call for call in calls if call not in over]

    @staticmethod
    def get(call: Call) -> Any:
        """The answer of an actor's oldest call that was not taken.

        Raises:
            ActorTaskError: the call raised something.
            ActorError: the process is gone.
        """
        done, answer = call.actor.receive()
        if not done:
            raise ActorTaskError(answer)
        return answer

    @staticmethod
    def kill(actor: Actor) -> None:
        """End an actor."""
        actor.end()


def _send(pipe: Connection, message: bytes) -> None:
    with suppress(OSError):
        pipe.send_bytes(message)


def _serve(pipe: Connection, kind: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """What runs in the process; SIGTERM ends it in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to handle
    signal.signal(signal.SIGTERM, _exit)
    calls: SimpleQueue[tuple[str, tuple[Any, ...]]] = SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, calls), daemon=True).start()
    with ThreadPoolExecutor(1) as sending, closing(kind(*arguments)) as inner:
        while True:
            name, values = calls.get()
            sending.submit(_send, pipe, _answer(getattr(inner, name), values))


def _receive(pipe: Connection, calls: SimpleQueue[tuple[str, tuple[Any, ...]]]) -> None:
    with suppress(EOFError, OSError):
        while True:
            calls.put(pickle.loads(pipe.recv_bytes()))
    os.kill(os.getpid(), signal.SIGTERM)  # the owner is gone: whatever the main thread does comes to its end


def _answer(method: Callable[..., Any], values: tuple[Any, ...]) -> bytes:
    try:
        return pickle.dumps((True, method(*values)))
    except Exception as error:
        try:
            message = pickle.dumps((False, error))
            pickle.loads(message)
        except Exception:  # what some libraries raise cannot be sent
            return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
        return message


def _exit(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)
