"""The process that records: takes what the control loop and others say, and writes it where the keeper wants it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from robolearn.real.bag import Bag
from robolearn.real.bag_contract import make_contract, write_contract
from robolearn.real.bag_messages import ACTION, INSTRUCTION, JUDGEMENT, OBSERVATION, STATE, Message, Messages
from robolearn.real.bundle import Bundle
from robolearn.real.keeper import Keeper
from robolearn.real.realtime import use_ordinary
from robolearn.real.record_settings import RecordSettings
from robolearn.real.shared_ring import Entry, Ring, RingReader
from robolearn.real.state_machine import State
from robolearn.schema import Schema

Put = Callable[[Message], None]
Listener = Callable[[Put], Callable[[], None]]  # listens to other sources from now on; returns what ends it
NICENESS = 5
BATCH = 0.02  # s that messages may gather: whom nobody waits for is not held up by waking somebody
FLUSH = 1.0  # s after which what was recorded survives the end of this process
RUNNING = (State.ACTIVE, State.HOLD)
INCIDENTS = ("hold", "fault", "estop")  # states
READY = b"ready"


@dataclass(frozen=True)
class About:
    """What is recorded.

    Attributes:
        schema: channels of the control steps.
        robot: its name.
        name: of the bundle; recordings are named by it and by the time.
        columns: texts that each episode is marked with.
        instruction: of the first activation.
    """

    schema: Schema
    robot: str
    name: str
    columns: dict[str, str]
    instruction: str

    @classmethod
    def of(cls, bundle: Bundle) -> About:
        """What a bundle does; its episodes are marked with its name and its manifest's SHA-256."""
        name = bundle.path.resolve().name
        checksum = hashlib.sha256((bundle.path / "manifest.json").read_bytes()).hexdigest()
        columns = {"bundle": name, "bundle_manifest": checksum}
        return cls(bundle.schema, bundle.robot.name, name, columns, bundle.instruction)


class Recording:
    """What the process does, without the process."""

    def __init__(self, settings: RecordSettings, about: About) -> None:
        """Record into the settings' folder."""
        self._settings, self._about = settings, about
        self._instruction = self._task = about.instruction  # what was said last, and what holds for what is recorded
        self._messages = Messages(about.schema)
        self._keeper = Keeper(settings, self._new_bag)
        self._led = False

    def entry(self, entry: Entry) -> None:
        """Take what the control loop says, or another thread of its process."""
        if entry.kind == INSTRUCTION:
            self._instruction = entry.data.decode()
        if entry.kind == ACTION:
            self._note_person(bool(entry.data[0]), entry.time)
        state = json.loads(entry.data) if entry.kind == STATE else None
        if state is not None and (state["before"], state["after"]) == (State.READY, State.ACTIVE):
            self._led = False
            if self._settings.mode == "all":
                self._task = self._instruction
            self._keeper.begin()
        if entry.kind == OBSERVATION and self._task != self._instruction:
            # the policy is told with the observation; a recording has one instruction
            self._task = self._instruction
            self._keeper.renew()
        for message in self._messages.said(*entry):
            self._keeper.add(message)
        if entry.kind == JUDGEMENT and not entry.data[0]:
            self._keeper.incident(entry.time)
        if state is None:
            return
        if state["after"] in INCIDENTS:
            self._keeper.incident(entry.time)
        if state["before"] in RUNNING and state["after"] not in RUNNING:
            self._keeper.end(entry.time)

    def message(self, message: Message) -> None:
        """Take a message of another source."""
        self._keeper.add(self._messages.compressed(message))

    def flush(self, now: int) -> None:
        """Save what there is; end a recording whose time is over at `now`, ns since the epoch."""
        self._keeper.flush(now)

    def close(self) -> None:
        """End the recording."""
        self._keeper.close()

    def report(self) -> dict[str, Any]:
        """Counts so far."""
        return {"recordings": self._keeper.bags, "recorded_messages": self._keeper.messages}

    def _note_person(self, person: bool, time: int) -> None:
        if person is not self._led:
            event = {"event": "takeover" if person else "handback"}
            self._keeper.add(self._messages.event(time, json.dumps(event)))
        self._led = person
        if person:
            self._keeper.incident(time)

    def _new_bag(self, continues: str) -> Bag:
        about = self._about
        columns = about.columns | {"instruction": self._task}
        bag = Bag(_free(Path(self._settings.folder), about.name), store=self._messages.store, about=columns)
        contract = make_contract(
            about.schema, robot=about.robot, task=self._task, columns=about.columns, continues=continues
        )
        write_contract(bag.path, contract)
        return bag


def _free(folder: Path, name: str) -> Path:
    """A folder for a new recording, named by time (UTC) and bundle."""
    base = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}_{name}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}_{number}")
    return path


def serve(settings: RecordSettings, about: About, ring: Ring, node: Connection, listener: Listener | None) -> None:
    """Run the process until the control loop's process ends, however it does.

    `node` gets `READY`, then a report as JSON each time something was saved.
    """
    ended = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    use_ordinary()  # writing must not keep real-time threads from a core
    with suppress(OSError):
        os.nice(NICENESS)
    recording, reader, others = Recording(settings, about), RingReader(ring), SimpleQueue[Message]()
    end_listening = None if listener is None else listener(others.put)
    try:
        _tell(node, READY)
        _record(recording, reader, node, others, ended)
        recording.close()
        _tell(node, json.dumps(recording.report()).encode())
    except OSError as error:  # a full disk, for one
        _tell(node, json.dumps({"recording_failed": str(error)}).encode())
    finally:
        if end_listening is not None:
            end_listening()


def _tell(node: Connection, message: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # it is gone; what it said last is still in the ring
        node.send_bytes(message)


def _record(
    recording: Recording, reader: RingReader, node: Connection, others: SimpleQueue[Message], ended: threading.Event
) -> None:
    saved = time.monotonic()
    while not (reader.ended or ended.is_set()):
        time.sleep(BATCH)
        now = time.time_ns()  # what was said before is read below, however long that takes, before a recording ends
        for entry in reader.read():
            recording.entry(entry)
        with suppress(Empty):
            while True:
                recording.message(others.get_nowait())
        if time.monotonic() - saved >= FLUSH:
            saved = time.monotonic()
            recording.flush(now)
            _tell(node, json.dumps(recording.report()).encode())
