"""Large messages beside a pipe: never blocking, never torn."""

import multiprocessing

import numpy as np
import pytest

from robolearn.real.transport import INLINE, Receiver, Sender, Slots

CONTEXT = multiprocessing.get_context("spawn")
COUNT, SIZE = 4, 300_000


@pytest.fixture
def ends():
    receiving, sending = CONTEXT.Pipe(duplex=False)
    slots = Slots(CONTEXT, size=SIZE, count=COUNT)
    sender, receiver = Sender(sending, slots), Receiver(receiving, slots)
    yield sender, receiver
    receiving.close()
    sending.close()


def message(number, size):
    return np.random.default_rng(number).bytes(size)


@pytest.mark.parametrize("sizes", [(0, 1, INLINE, INLINE + 1, SIZE), (SIZE, 5, SIZE, 5, SIZE, 5, SIZE, 5)])
def test_messages_of_all_sizes_come_in_order(ends, sizes):
    sender, receiver = ends
    messages = [message(i, size) for i, size in enumerate(sizes)]
    for each in messages:
        sender.send(each)
    assert receiver.waiting() == messages


def test_a_sender_that_nobody_listens_to_does_not_wait_and_the_newest_arrive_whole(ends):
    sender, receiver = ends
    messages = [message(i, SIZE - i) for i in range(1000)]  # 300 MB; a pipe holds 64 KiB
    for each in messages:
        sender.send(each)
    assert receiver.waiting() == messages[-COUNT:]


def test_a_slot_that_is_written_anew_while_it_is_read_is_left_out():
    slots = Slots(CONTEXT, size=10, count=1)
    slots.put(1, b"first")
    assert slots.get(1) == b"first"
    slots.put(2, b"second")
    assert slots.get(1) is None
    assert slots.get(2) == b"second"


def test_the_end_of_the_input_is_told_and_a_receiver_that_is_gone_is_not():
    receiving, sending = CONTEXT.Pipe(duplex=False)
    slots = Slots(CONTEXT, size=10, count=1)
    sender = Sender(sending, slots)
    sender.close()
    with pytest.raises(EOFError):
        Receiver(receiving, slots).waiting()
    sender.send(b"to nobody")
