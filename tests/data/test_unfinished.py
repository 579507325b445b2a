"""Recordings whose writer was killed, at whatever byte."""

import fcntl
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rosbags", reason="the extra 'recordings' is not installed")

from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from robolearn.data.importers.unfinished import finish, is_bag
from robolearn.errors import UserError

STORE = get_typestore(Stores.ROS2_JAZZY)
KIND = "std_msgs/msg/Float64MultiArray"


def write(path, *, chunks=4, per_chunk=5):
    """Messages that are not in the order of time, in finished chunks; return the file without its end."""
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    writer.open()
    connection = writer.add_connection("/numbers", KIND, typestore=STORE)
    layout = STORE.types["std_msgs/msg/MultiArrayLayout"]([], 0)
    for number in range(chunks * per_chunk):
        message = STORE.types[KIND](layout, np.full(3, float(number)))
        writer.write(connection, 1000 - number % 3, STORE.serialize_cdr(message, KIND))
        if number % per_chunk == per_chunk - 1:
            writer.storage.close_chunk()
    writer.storage.bio.flush()
    data = (path / f"{path.name}.mcap").read_bytes()
    writer.abort()
    return data


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    return write(tmp_path_factory.mktemp("killed") / "bag")


def left(folder, data):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / f"{folder.name}.mcap").write_bytes(data)
    return folder


def read(folder):
    with AnyReader([folder]) as reader:
        return sorted(reader.deserialize(raw, c.msgtype).data[0] for c, _, raw in reader.messages())


def test_whole_chunks_come_back_and_the_recording_is_as_rosbag2_s(killed, tmp_path):
    bag = left(tmp_path / "bag", killed)
    assert is_bag(bag)
    finish(bag)
    assert read(bag) == list(range(20))
    assert sorted(path.name for path in bag.iterdir()) == ["bag.mcap", "metadata.yaml"]
    before = (bag / "bag.mcap").read_bytes()
    finish(bag)  # there is nothing left to do
    assert (bag / "bag.mcap").read_bytes() == before


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1))
def test_wherever_the_file_ends_the_chunks_before_it_come_back(killed, tmp_path_factory, share):
    bag = left(tmp_path_factory.getbasetemp() / "cut", killed[: round(share * len(killed))])
    try:
        finish(bag)
    except UserError:  # not one chunk was finished
        assert share * len(killed) < len(killed) / 2
        return
    found = read(bag)
    assert found == list(range(len(found)))
    assert len(found) % 5 == 0
    assert len(found) >= 5 * int(share * 4 - 0.5)


def test_mending_that_was_killed_too_goes_on(killed, tmp_path):
    bag = left(tmp_path / "bag", killed)
    finish(bag)
    (bag / "metadata.yaml").unlink()  # the file was replaced, this was not
    (bag / ".mending").mkdir()
    finish(bag)
    assert read(bag) == list(range(20))


@pytest.mark.parametrize("name", ["bag.mcap", "metadata.yaml"])
def test_mending_that_ends_at_any_moment_loses_nothing(killed, tmp_path, monkeypatch, name):
    bag = left(tmp_path / "bag", killed)
    bag = bag.rename(tmp_path / "renamed")  # the file has another name than the folder
    replace = os.replace

    def broken(source, target):
        if target == bag / name:
            raise OSError("killed")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", broken)
        with pytest.raises(UserError, match="killed"):
            finish(bag)
    assert is_bag(bag)
    finish(bag)
    assert read(bag) == list(range(20))


def test_a_recording_that_is_being_written_is_left_alone(killed, tmp_path):
    bag = left(tmp_path / "bag", killed)
    with (bag / "bag.mcap").open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        with pytest.raises(UserError, match="is being recorded"):
            finish(bag)
    assert (bag / "bag.mcap").read_bytes() == killed


@pytest.mark.parametrize(("data", "text"), [(b"", "no MCAP file"), (b"\x89MCAP0\r\n", "cannot be mended")])
def test_what_holds_nothing_is_named(tmp_path, data, text):
    with pytest.raises(UserError, match=text):
        finish(left(tmp_path / "bag", data))
