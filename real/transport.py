"""Messages to another process that never block the sender: small ones in a pipe, large ones beside it.

A pipe holds 64 KiB; who sends more waits until the other end has read. Messages with pictures therefore go through
shared memory, slots in turn, and the pipe says only which. A slot carries the number of its message, so that one that
was written anew in the meantime is left out, not read half and half.
"""

from __future__ import annotations

import ctypes
import struct
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

INLINE = 4096  # bytes of the largest message that goes through the pipe
PLACE = struct.Struct("<qq")  # number of a message in a slot, length; the pipe tells it from others by its tag
TAG_INLINE, TAG_SLOT = b"i", b"s"


class Slots:
    """Shared memory for the last `count` messages of up to `size` bytes; handed to a child process as an argument."""

    def __init__(self, context: BaseContext, *, size: int, count: int) -> None:
        """Allocate it."""
        self._stride, self.count = PLACE.size + size, count
        self._memory: Any = context.RawArray(ctypes.c_ubyte, self._stride * count)

    def put(self, number: int, message: bytes) -> None:
        """Write the message of this number, 1 or more, over the one `count` numbers before it."""
        at = (number % self.count) * self._stride
        view = memoryview(self._memory).cast("B")
        PLACE.pack_into(view, at, 0, 0)  # valid again when it is whole
        view[at + PLACE.size : at + PLACE.size + len(message)] = message
        PLACE.pack_into(view, at, number, len(message))

    def get(self, number: int) -> bytes | None:
        """Message of this number; None if its slot holds another by now."""
        at = (number % self.count) * self._stride
        view = memoryview(self._memory).cast("B")
        found, length = PLACE.unpack_from(view, at)
        message = bytes(view[at + PLACE.size : at + PLACE.size + length])
        still, _ = PLACE.unpack_from(view, at)
        return message if found == still == number else None


class Sender:
    """The end of the process that must not wait."""

    def __init__(self, pipe: Connection, slots: Slots) -> None:
        """Send through both."""
        self._pipe, self._slots, self._number = pipe, slots, 0

    def send(self, message: bytes) -> None:
        """Send; nothing happens where nobody is left at the other end."""
        if len(message) <= INLINE:
            note = TAG_INLINE + message
        else:
            self._number += 1
            self._slots.put(self._number, message)
            note = TAG_SLOT + self._number.to_bytes(8, "little")
        with suppress(OSError):
            self._pipe.send_bytes(note)

    def close(self) -> None:
        """Close the pipe, which ends the receiver's input."""
        self._pipe.close()


class Receiver:
    """The other end."""

    def __init__(self, pipe: Connection, slots: Slots) -> None:
        """Receive from both."""
        self._pipe, self._slots = pipe, slots

    def waiting(self) -> list[bytes]:
        """Wait for a message; return all that have arrived, oldest first.

        Raises:
            EOFError: the sender has ended.
        """
        messages: list[bytes] = []
        while not messages or self._pipe.poll():
            note = self._pipe.recv_bytes()
            whole = note[1:] if note[:1] == TAG_INLINE else self._slots.get(int.from_bytes(note[1:], "little"))
            if whole is not None:
                messages.append(whole)
        return messages
