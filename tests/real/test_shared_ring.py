"""What is sent through the ring arrives, or is counted as lost; the sender never waits."""

import multiprocessing

import hypothesis.strategies as st
from hypothesis import given, settings

from robolearn.real.shared_ring import HEADER, RingReader, RingWriter

CONTEXT = multiprocessing.get_context("spawn")


def make(capacity):
    writer = RingWriter(CONTEXT, capacity)
    return writer, RingReader(writer.ring)


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.integers(40, 200),
    steps=st.lists(st.one_of(st.none(), st.binary(max_size=60)), max_size=80),
)
def test_whatever_the_sizes_what_is_not_dropped_arrives_in_order(capacity, steps):
    writer, reader = make(capacity)
    kept, read = [], []
    for number, data in enumerate(steps):
        if data is None:
            read += reader.read()
            continue
        before = writer.sent
        writer.put(number % 7, number, data)
        if writer.sent > before:
            kept.append((number % 7, number, data))
        else:  # only what has no room is dropped: not even one byte may be lost for another reason
            assert len(data) + HEADER.size > capacity / 2 or len(kept) > len(read)
    read += reader.read()
    assert [tuple(entry) for entry in read] == kept
    assert writer.sent + writer.dropped == sum(data is not None for data in steps)
    writer.close()
    assert list(reader.read()) == []
    assert reader.ended


def test_a_receiver_that_is_behind_costs_entries_not_time():
    writer, reader = make(1000)
    for number in range(100):
        writer.put(1, number, bytes(91))
    assert (writer.sent, writer.dropped) == (10, 90)
    assert [entry.time for entry in reader.read()] == list(range(10))
    writer.put(1, 100, bytes(91))
    assert [entry.time for entry in reader.read()] == [100]


def test_a_full_pipe_and_a_receiver_that_is_gone_drop_what_comes():
    writer, reader = make(10_000_000)
    for number in range(6000):
        writer.put(1, number, b"x")
    assert 0 < writer.dropped < 6000
    assert len(list(reader.read())) == writer.sent
    sent = writer.sent
    writer.ring.tokens.close()
    writer.put(1, 0, b"x")
    assert writer.sent == sent


def test_a_thread_that_must_not_wait_leaves_its_entry_with_the_one_that_sends():
    writer, reader = make(1000)
    with writer._sending:  # another thread is at it
        writer.put(1, 1, b"first")
        assert list(reader.read()) == []
    writer.put(1, 2, b"second", wait=True)
    assert [entry.data for entry in reader.read()] == [b"first", b"second"]
