"""A rosbag2 folder with one MCAP file, whose finished parts stay readable whatever happens to the writer."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any, Literal

from robolearn.real.bag_messages import Message

VERSION: Literal[9] = 9  # of rosbag2's metadata: ROS 2 Jazzy's


class Bag:
    """A recording that is being written.

    Messages go into compressed chunks. `flush` finishes the present one, and what is finished can be read without the
    file's end, which `close` writes together with metadata.yaml.

    Attributes:
        path: the folder.
        size: bytes of messages so far, before compression.
        count: messages so far.
    """

    def __init__(self, path: Path, *, store: Any, about: dict[str, str]) -> None:
        """Begin a recording.

        Args:
            path: of the folder, which must not exist.
            store: rosbags' typestore, which knows the messages' types.
            about: texts for the metadata.
        """
        from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

        self.path, self.size, self.count = path, 0, 0
        self._store = store
        self._writer = Writer(path, version=VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        for key, value in about.items():
            self._writer.set_custom_data(key, value)
        self._writer.open()
        storage: Any = self._writer.storage
        fcntl.flock(storage.bio, fcntl.LOCK_SH)  # until it ends, so that nobody mends it as if it had been left
        self._connections: dict[str, Any] = {}

    def write(self, message: Message) -> None:
        """Append a message; those of a type that the typestore does not know are left out."""
        if message.kind not in self._store.fielddefs:
            return
        connection = self._connections.get(message.topic)
        if connection is None:
            connection = self._writer.add_connection(message.topic, message.kind, typestore=self._store)
            self._connections[message.topic] = connection
        self._writer.write(connection, message.time, message.data)
        self.size += len(message.data)
        self.count += 1

    def flush(self) -> None:
        """Give what was written to the operating system."""
        storage: Any = self._writer.storage
        if storage.chunk.msgs:
            storage.close_chunk()
        storage.bio.flush()

    def close(self) -> None:
        """Finish it."""
        self._writer.close()
