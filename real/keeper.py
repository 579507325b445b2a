"""When a recording begins and ends: at activations, or around incidents with what came before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from robolearn.real.bag import Bag
from robolearn.real.bag_messages import SECOND, Message
from robolearn.real.record_settings import RecordSettings

MEGABYTE = 1_000_000
RING_BYTES = 512 * MEGABYTE  # that the ring holds at most, however many seconds that is


class Ring:
    """The messages of the last seconds.

    Attributes:
        size: bytes that it holds.
    """

    def __init__(self, seconds: float, limit: int = RING_BYTES) -> None:
        """Keep so many seconds, but not more than `limit` bytes."""
        self.size = 0
        self._messages: deque[Message] = deque()
        self._span, self._limit = round(seconds * SECOND), limit

    def add(self, message: Message) -> None:
        """Keep a message, and forget those that are too old by its time."""
        self._messages.append(message)
        self.size += len(message.data)
        while self._messages[0].time < message.time - self._span or self.size > self._limit:
            self.size -= len(self._messages.popleft().data)

    def take(self) -> list[Message]:
        """Everything, in the order of time; nothing is left."""
        messages = sorted(self._messages, key=lambda message: message.time)
        self._messages.clear()
        self.size = 0
        return messages


class Keeper:
    """Passes messages on to recordings.

    Attributes:
        messages: that were written so far.
        bags: recordings begun so far.
    """

    def __init__(self, settings: RecordSettings, new_bag: Callable[[str], Bag]) -> None:
        """Keep what the settings say.

        Args:
            settings: when to record.
            new_bag: begins a recording, given the name of the one that goes on in it, "" if none does.
        """
        self.messages = self.bags = 0
        self._settings, self._new_bag = settings, new_bag
        self._ring = Ring(settings.ring_seconds) if settings.mode == "incidents" else None
        self._bag: Bag | None = None
        self._until: int | None = None  # ns, when the recording ends

    def add(self, message: Message) -> None:
        """Take a message."""
        if self._bag is not None:
            self._write(message)
        elif self._ring is not None:
            self._ring.add(message)

    def begin(self) -> None:
        """An activation begins."""
        if self._settings.mode == "all":
            self.close()
            self._open()
            self._until = None

    def end(self, time: int) -> None:
        """An activation ended at `time`, ns."""
        if self._settings.mode == "all":
            self._until = time + self._after

    def incident(self, time: int) -> None:
        """Something happened at `time`, ns, that is worth a recording."""
        if self._ring is None:
            return
        if self._bag is None:
            self._open()
            for message in self._ring.take():
                self._write(message)
        self._until = time + self._after

    def renew(self) -> None:
        """What comes from now on goes into a recording of its own, without what came before."""
        if self._ring is not None:
            self._ring.take()
        if self._bag is not None:
            self._bag.close()
            self._open()

    def flush(self, time: int) -> None:
        """Save what there is, and end the recording if its time is over at `time`, ns."""
        if self._bag is not None:
            self._bag.flush()
            if self._until is not None and time >= self._until:
                self.close()

    def close(self) -> None:
        """End the present recording, if there is one."""
        if self._bag is not None:
            bag, self._bag, self._until = self._bag, None, None
            bag.close()

    @property
    def _after(self) -> int:
        return round(self._settings.after_seconds * SECOND)

    def _open(self, continues: str = "") -> None:
        self._bag = self._new_bag(continues)
        self.bags += 1

    def _write(self, message: Message) -> None:
        assert self._bag is not None, "it was opened before"
        if self._bag.size > self._settings.megabytes * MEGABYTE:
            self._bag.close()
            self._open(continues=self._bag.path.name)
        self._bag.write(message)
        self.messages += 1
