"""Recordings whose writer was killed: what it had finished is made readable.

A killed writer leaves an MCAP file without its end, and no metadata.yaml. The file gets an end after its last whole
record; then the recording is written anew, with its index and its metadata.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import struct
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Literal

from robolearn.errors import UserError

log = logging.getLogger(__name__)
METADATA = "metadata.yaml"
MENDING = ".mending"  # folder in a recording's, while it is written anew
MAGIC = b"\x89MCAP0\r\n"
PREFIX = struct.Struct("<BQ")  # of a record: what it is, bytes that follow
DATA_END, FOOTER = 0x0F, 0x02
VERSION: Literal[9] = 9  # of rosbag2's metadata: ROS 2 Jazzy's


def is_bag(folder: Path) -> bool:
    """Whether a folder holds a rosbag2 recording, finished or not."""
    return (folder / METADATA).exists() or _left_by_killed(folder) is not None


def _left_by_killed(folder: Path) -> Path | None:
    files = [] if (folder / METADATA).exists() else sorted(folder.glob("*.mcap"))
    return files[0] if len(files) == 1 else None


def finish(folder: Path) -> None:
    """Make a recording readable, in its place, if it is not.

    Raises:
        UserError: nothing can be read, or the folder cannot be written.
    """
    if (file := _left_by_killed(folder)) is None:
        return
    try:
        lost = _end(file)
        _rewrite(file)
    except OSError as error:
        raise UserError(f"{folder} was not finished and cannot be mended in its place ({error}): copy it") from error
    log.warning("%s was not finished by its writer: it was mended, and lost its last %d bytes", folder, lost)


def _end(file: Path) -> int:
    """Cut off what is no whole record and write the file's end; return how many bytes were cut off."""
    with file.open("r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{file} is being recorded at this moment: import it when that is over") from error
        if stream.read(len(MAGIC)) != MAGIC:
            raise UserError(f"{file} is no MCAP file: remove it")
        size = stream.seek(0, 2)
        end = _whole(stream, size)
        stream.seek(end)
        stream.truncate()
        stream.write(_record(DATA_END, bytes(4)))
        stream.write(_record(FOOTER, bytes(20)) + MAGIC)  # zeros: no summary, no checksum
    return size - end


def _whole(stream: BinaryIO, size: int) -> int:
    """Where the last whole record before the file's end ends."""
    at = len(MAGIC)
    while True:
        stream.seek(at)
        prefix = stream.read(PREFIX.size)
        if len(prefix) < PREFIX.size:
            return at
        kind, length = PREFIX.unpack(prefix)
        if kind in (DATA_END, FOOTER) or at + PREFIX.size + length > size:
            return at
        at += PREFIX.size + length


def _record(kind: int, content: bytes) -> bytes:
    return PREFIX.pack(kind, len(content)) + content


def _rewrite(file: Path) -> None:
    """Write the recording anew, with an index and metadata.yaml, and put it in the file's place.

    Raises:
        UserError: nothing was finished.
    """
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, ReaderError, StoragePlugin, Writer
    from rosbags.rosbag2.storage_mcap import McapReader
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    folder = file.parent
    fresh = folder / MENDING / file.stem  # its file has the name of the one whose place it takes
    reader = McapReader(file)
    try:
        reader.open()
    except ReaderError as error:
        raise UserError(f"{file} was not finished and cannot be mended ({error}): remove it") from error
    with closing(reader):
        if not reader.metadata.message_count:
            raise UserError(f"{file} was not finished and holds no message: remove its folder")
        shutil.rmtree(fresh.parent, ignore_errors=True)  # of an attempt that was killed
        writer = Writer(fresh, version=VERSION, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        with writer:
            connections = {}
            for connection in reader.connections:
                store = get_typestore(Stores.EMPTY)
                store.register(get_types_from_msg(connection.msgdef.data, connection.msgtype))
                connections[connection.id] = writer.add_connection(
                    connection.topic, connection.msgtype, typestore=store
                )
            # as they come: the reader's other way wants them in the order of time
            for connection, time, data in reader.messages_scan(reader.connections):
                writer.write(connections[connection.id], time, data)
    # wherever this is killed, there is one file, and without metadata.yaml it is mended again
    for name in (file.name, METADATA):
        os.replace(fresh / name, folder / name)
    shutil.rmtree(fresh.parent)
