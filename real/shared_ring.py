"""Bytes from one process to another, without the sender ever waiting.

The bytes lie in preallocated shared memory; what goes through a pipe is where. So the sender copies, and makes one
system call that cannot block; the receiver looks now and then, and learns from the pipe's end that the sender is gone,
however it ended. What does not fit is dropped and counted.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from typing import Any, NamedTuple

import numpy as np

TOKEN = struct.Struct("<QI")  # position since the beginning, bytes
HEADER = struct.Struct("<Bq")  # kind, time in ns
READ = 4096 * TOKEN.size  # bytes of tokens taken at a time
RESERVED = 8  # bytes at the beginning: how far the receiver is


class Entry(NamedTuple):
    """What was sent.

    Attributes:
        kind: what the bytes are, 0 to 255.
        time: of whatever clock the sender takes, ns.
        data: the bytes.
    """

    kind: int
    time: int
    data: bytes


class Ring(NamedTuple):
    """Both ends' share; to be given to the receiving process when it is started."""

    memory: Any  # a ctypes array
    tokens: Connection  # the end that the receiver reads


class RingWriter:
    """The sender's end.

    Several threads may send, each entry before those that are sent after it. Who must not wait for another thread
    leaves an entry with it for the moment.

    Attributes:
        sent: entries so far.
        dropped: entries that did not fit.
    """

    def __init__(self, context: SpawnContext, capacity: int) -> None:
        """Allocate `capacity` bytes, at once."""
        self.sent = self.dropped = 0
        tokens, self._tokens = context.Pipe(duplex=False)
        os.set_blocking(self._tokens.fileno(), False)
        self.ring = Ring(context.RawArray(ctypes.c_ubyte, RESERVED + capacity), tokens)
        whole = np.frombuffer(self.ring.memory, np.uint8)
        self._done = whole[:RESERVED].view(np.uint64)
        self._room, self._capacity = memoryview(whole[RESERVED:]), capacity
        self._position = 0
        self._sending, self._left = threading.Lock(), deque[Entry]()

    def put(self, kind: int, time: int, data: bytes, *, wait: bool = False) -> None:
        """Send an entry, or drop it if the receiver is behind; with `wait`, wait for another thread that sends."""
        self._left.append(Entry(kind, time, data))
        if self._sending.acquire(blocking=wait):
            try:
                while self._left:
                    self._send(*self._left.popleft())
            finally:
                self._sending.release()

    def _send(self, kind: int, time: int, data: bytes) -> None:
        size = HEADER.size + len(data)
        position = self._position
        at = position % self._capacity
        if at + size > self._capacity:  # an entry lies in one piece
            position, at = position + self._capacity - at, 0
        if size > self._capacity or position + size - int(self._done[0]) > self._capacity:
            self.dropped += 1
            return
        HEADER.pack_into(self._room, at, kind, time)
        self._room[at + HEADER.size : at + size] = data
        try:
            os.write(self._tokens.fileno(), TOKEN.pack(position, size))
        except OSError:  # the pipe is full, or nobody reads it any more
            self.dropped += 1
            return
        self._position = position + size
        self.sent += 1

    def close(self) -> None:
        """Tell the receiver that this was all."""
        self._tokens.close()


class RingReader:
    """The receiver's end.

    Attributes:
        ended: whether the sender is gone and everything was read.
    """

    def __init__(self, ring: Ring) -> None:
        """Read what comes from now on."""
        self.ended = False
        self._tokens = ring.tokens
        os.set_blocking(self._tokens.fileno(), False)
        whole = np.frombuffer(ring.memory, np.uint8)
        self._done = whole[:RESERVED].view(np.uint64)
        self._room = memoryview(whole[RESERVED:])

    def read(self) -> Iterator[Entry]:
        """Everything that has come, oldest first, without waiting."""
        while tokens := self._take():
            for position, size in TOKEN.iter_unpack(tokens):
                at = position % len(self._room)
                kind, time = HEADER.unpack_from(self._room, at)
                data = bytes(self._room[at + HEADER.size : at + size])
                self._done[0] = position + size
                yield Entry(kind, time, data)

    def _take(self) -> bytes:
        try:
            tokens = os.read(self._tokens.fileno(), READ)
        except BlockingIOError:
            return b""
        self.ended = not tokens
        return tokens
